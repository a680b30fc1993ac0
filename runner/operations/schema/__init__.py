"""JSON Schema for every kind of file, made from the models: for editors that complete, explain and underline.

Draft 7, which is what the servers of VS Code for YAML and TOML read.

    kinds          which kinds of files there are, and the schema of each
    generator      pydantic's generator, with what only we know
    short_forms    what validators let in besides the plain type
    rules          what models check across keys
    descriptions   what each key means
    files          a folder of schemas, and the editor's settings that name them
"""

from runner.operations.schema.files import SCHEMA_FOLDER, Installed, install_schemas, write_schemas
from runner.operations.schema.kinds import KINDS, Kind, schema_of

__all__ = ["KINDS", "SCHEMA_FOLDER", "Installed", "Kind", "install_schemas", "schema_of", "write_schemas"]
