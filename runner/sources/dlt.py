"""`op: extract` with `source: dlt`: the rows of a dlt resource, as it gives them.

Needs the extra `dlt`. A resource is only iterated: no dlt pipeline, no destination, no normalising, no state between
runs, and so nothing of its own that dlt would write to the disk or send (telemetry is an event of pipelines).
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from runner.errors import (
    FunctionFailed,
    RunPipelineError,
    SourceBusy,
    SourceDenied,
    SourceError,
    SourceUnavailable,
    did_you_mean,
)
from runner.extras import install_command
from runner.functions import Function, FunctionNotFound, load_object

if TYPE_CHECKING:
    from dlt.extract import DltResource

_HANDED_OVER = ("connection", "since", "as_of", "stop")
_QUERY = re.compile(r"(https?://[^\s?'\"]+)\?[^\s'\"]*")
_MAX_TEXT = 600  # characters of what dlt says


def function_of(resource: str) -> Function:
    """Return an extract function that gives the rows of `module:name` or `module:source.resource`.

    It takes what the resource takes, or the source, or the function that returns resources. Raises `FunctionNotFound`
    for what is none of these, and without the extra.
    """
    if find_spec("dlt") is None:
        raise FunctionNotFound(
            resource, "source dlt needs dlt, which is not installed", install_command("dlt")
        )
    module, _, attributes = resource.partition(":")
    attribute, _, selected = attributes.partition(".")
    thing = load_object(f"{module}:{attribute}")
    signature = _signature(resource, thing)

    def rows(**arguments: Any) -> Iterator[Any]:
        given = {
            name: value
            for name, value in arguments.items()
            if value is not None or name not in _HANDED_OVER or not _has_default(signature, name)
        }
        return _rows(resource, thing, selected, given)

    return Function(
        name=resource, target=rows, shape="row", is_async=False, is_generator=True, signature=signature
    )


def _signature(resource: str, thing: Any) -> inspect.Signature:
    """Return what can be given to a resource, a source or a function. Raises `FunctionNotFound` for anything else."""
    from dlt.extract import DltResource, DltSource

    if isinstance(thing, DltSource) or (isinstance(thing, DltResource) and thing.args_bound):
        return inspect.Signature()
    if not callable(thing) or isinstance(thing, type):
        kind = f"it is of type {type(thing).__name__}"
        raise FunctionNotFound(
            resource, f"{kind}; expected a dlt resource or source, or a function that returns some"
        )
    signature = inspect.signature(thing)
    if isinstance(thing, DltResource) and thing.is_transformer:  # dlt gives it the item itself
        parameters = list(signature.parameters.values())[1:]
        signature = signature.replace(parameters=[one for one in parameters if one.name != "meta"])
    return signature


def _has_default(signature: inspect.Signature, name: str) -> bool:
    parameter = signature.parameters.get(name)
    return parameter is not None and parameter.default is not parameter.empty


def _rows(name: str, thing: Any, selected: str, arguments: Mapping[str, Any]) -> Iterator[Any]:
    """Yield rows and record batches. Raises an error of the engine's tree for whatever goes wrong in dlt."""
    try:
        for item in _resource(name, thing, selected, arguments):
            yield from _batches(item) if hasattr(item, "__arrow_c_stream__") else (item,)
    except RunPipelineError:
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001 - raised again as an error of ours
        raise _failure(name, error) from None  # its chain shows URLs and values as they are


def _resource(name: str, thing: Any, selected: str, arguments: Mapping[str, Any]) -> DltResource:
    """Return the one resource that is meant. Raises `SourceError` when that is not clear."""
    from dlt.extract import DltResource, DltSource

    made = thing(**arguments) if arguments or not isinstance(thing, DltResource | DltSource) else thing
    if isinstance(made, DltResource):
        found = {made.name: made}
    elif isinstance(made, DltSource):
        found = dict(made.resources if selected else made.selected_resources)
    else:
        found = {one.name: one for one in made or () if isinstance(one, DltResource)}
    if selected:
        if selected not in found:
            near = did_you_mean(selected, found)
            text = f"there is no resource {selected!r}; it has {', '.join(found) or 'none'}"
            raise SourceError(f"source dlt {name}", text, hint=near)
        return found[selected]
    if len(found) != 1:
        text = f"it gives {len(found)} resources ({', '.join(found)})"
        raise SourceError(f"source dlt {name}", text, hint=f"say which: resource: {name}.RESOURCE")
    return next(iter(found.values()))


def _batches(table: Any) -> Iterator[Any]:
    """Yield the record batches of a table of pyarrow, pandas or polars."""
    import pyarrow as pa

    return iter(pa.table(table).to_batches())


def _failure(name: str, error: BaseException) -> RunPipelineError:
    """Return what an error is for the engine: the first one of the chain whose kind is known."""
    chain = list(_chain(error))
    for one in chain:
        if isinstance(one, RunPipelineError):
            return one
    kind = next((kind for one in chain if (kind := _kind_of(one)) is not None), SourceError)
    text = f"{type(error).__name__}: {' '.join(str(error).split())}"
    place = next((place for one in chain if (place := FunctionFailed(name, one).location)), "")
    text = _QUERY.sub(r"\1?***", text)[:_MAX_TEXT]
    return kind(f"source dlt {name}", f"{text} ({place})" if place else text)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and its causes, without going in circles."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _kind_of(error: BaseException) -> type[SourceError] | None:
    """Return what is known about an error of the network, None when it is none."""
    from requests.exceptions import ConnectionError as ConnectionLost
    from requests.exceptions import HTTPError, Timeout

    if isinstance(error, HTTPError) and error.response is not None:
        return _KINDS.get(error.response.status_code) or (
            SourceUnavailable if error.response.status_code >= 500 else SourceError
        )
    if isinstance(error, ConnectionError | TimeoutError | ConnectionLost | Timeout):
        return SourceUnavailable
    return None


_KINDS: Mapping[int, type[SourceError]] = {401: SourceDenied, 403: SourceDenied, 429: SourceBusy}
