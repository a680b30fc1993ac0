"""What a statement does: a query, or a change of which tables. Parsed by sqlglot in the engine's dialect.

sqlglot reads more than the engines do: what it lets through and the engine does not is told when the statement runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from runner.sqltext.scanner import Piece, SqlMistake, pieces, placeholders

if TYPE_CHECKING:
    from sqlglot import exp

_MARKS = {"duckdb": "$", "bigquery": "@", "postgres": ":"}
"""The sign that sqlglot expects in place of the colon, in each dialect. One character, so that positions stay."""

_TABLES = "tables are made from their declarations in configs/tables"
_FILES = "files and other databases are closed to SQL; rows from outside come in through op: extract"
_SETTINGS = "settings belong to the engine; [warehouse] in configs/runner.toml has those that can be changed"
_TRANSACTION = "the statement runs in the job's own transaction"
_REFUSED = {
    **dict.fromkeys(("CREATE", "ALTER", "DROP", "COMMENT", "RENAME", "GRANT", "REVOKE"), _TABLES),
    **dict.fromkeys(
        ("COPY", "EXPORT", "IMPORT", "ATTACH", "DETACH", "INSTALL", "LOAD", "LOCK", "UNLOAD"), _FILES
    ),
    **dict.fromkeys(
        ("PRAGMA", "SET", "RESET", "USE", "DECLARE", "CHECKPOINT", "VACUUM", "ANALYZE"), _SETTINGS
    ),
    **dict.fromkeys(
        ("BEGIN", "START", "COMMIT", "ROLLBACK", "ABORT", "END", "SAVEPOINT", "RELEASE"), _TRANSACTION
    ),
}
_EXPECTED = "SELECT, VALUES, INSERT, UPDATE, DELETE, MERGE or TRUNCATE"


@dataclass(frozen=True, slots=True)
class TableName:
    """A table as a statement names it: `dataset` "" where it has none; `offset` of its name in the text."""

    dataset: str
    table: str
    offset: int

    def __str__(self) -> str:
        return f"{self.dataset}.{self.table}" if self.dataset else self.table


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """A statement: what kind it is, the placeholders in it, the tables it names, and of these those it changes."""

    kind: Literal["query", "change"]
    placeholders: frozenset[str]
    tables: tuple[TableName, ...]
    changed: tuple[TableName, ...]


def analyse(text: str, engine: str) -> Analysis:
    """Return what a statement does. Raises `SqlMistake` for text that is not exactly one statement of a kind that a
    `sql` step may have, and for placeholders written in another way than `:name`.
    """
    found = list(pieces(text, engine))
    begin = _first_word(found)
    _refuse_several(found)
    tree = _parsed(text, found, engine, begin)
    names = frozenset(name for name, _ in placeholders(text, engine))
    _refuse_other_placeholders(text, tree, names, begin)
    changes = list(_changes(tree))
    if not _is_query(tree) and tree not in changes:
        raise SqlMistake("this is no statement that a sql step can have", begin, expected=_EXPECTED)
    changed = tuple(_changed_table(text, change, begin) for change in changes)
    return Analysis(
        kind="change" if changes else "query",
        placeholders=names,
        tables=tuple(dict.fromkeys(_tables(tree, begin))),
        changed=tuple({(one.dataset, one.table): one for one in changed}.values()),
    )


def _first_word(found: list[Piece]) -> int:
    """Return where the statement begins. Raises for an empty text and for statements that are refused."""
    code = [piece for piece in found if piece.kind not in ("space", "comment")]
    if not code:
        raise SqlMistake("there is no statement in this text", 0, expected=_EXPECTED)
    word = code[0].text.upper()
    if code[0].kind == "word" and (why := _REFUSED.get(word)):
        raise SqlMistake(f"{word} is refused: {why}", code[0].start, expected=_EXPECTED)
    return code[0].start


def _refuse_several(found: list[Piece]) -> None:
    ended = False
    for piece in found:
        if ended and piece.kind not in ("space", "comment", "semicolon"):
            message = "a second statement begins here"
            raise SqlMistake(message, piece.start, expected="one statement a step")
        ended = ended or piece.kind == "semicolon"


def _parsed(text: str, found: list[Piece], engine: str, begin: int) -> exp.Expr:
    import logging

    import sqlglot
    from sqlglot.errors import ParseError, SqlglotError

    mark = _MARKS[engine]
    readable = "".join(
        mark + piece.text[1:] if piece.kind == "placeholder" else piece.text for piece in found
    )
    logger = logging.getLogger("sqlglot")
    silent, logger.disabled = logger.disabled, True  # it would print that it does not know a statement
    try:
        trees = [
            tree
            for tree in sqlglot.parse(readable, read=engine)
            if tree is not None and not isinstance(tree, sqlglot.exp.Semicolon)  # one with a comment after it
        ]
    except ParseError as error:
        first = error.errors[0] if error.errors else {}
        raise SqlMistake(_sentence(first), _offset(text, first, begin)) from error
    except SqlglotError as error:
        raise SqlMistake(
            f"this cannot be read as SQL of {engine}: {error.__cause__ or error}", begin
        ) from error
    except RecursionError as error:
        raise SqlMistake("this statement is nested too deeply", begin) from error
    finally:
        logger.disabled = silent
    if len(trees) != 1:
        raise SqlMistake(f"{len(trees)} statements", begin, expected="one statement a step")
    return trees[0]


def _sentence(error: dict[str, object]) -> str:
    """Say what the parser missed, in words without its own classes."""
    near = str(error.get("highlight") or "").strip()
    text = str(error.get("description") or "").partition(" but got <")[0]
    why = "" if "<class" in text or not text else f": {text[:1].lower()}{text[1:].rstrip('.')}"
    return f"not SQL near {near!r}{why}" if near else f"not SQL{why}"


def _offset(text: str, error: dict[str, object], begin: int) -> int:
    """Return where the parser's complaint begins: it tells line and column of the last character."""
    line, column, near = error.get("line"), error.get("col"), str(error.get("highlight") or "")
    if not isinstance(line, int) or not isinstance(column, int):
        return begin
    before = sum(len(each) for each in text.splitlines(keepends=True)[: line - 1])
    return min(len(text), max(begin, before + column - max(1, len(near))))


def _refuse_other_placeholders(text: str, tree: exp.Expr, names: frozenset[str], begin: int) -> None:
    from sqlglot import exp

    for node in tree.find_all(exp.Placeholder, exp.Parameter):
        if node.name not in names:
            shown = {"?": "?", "": "?"}.get(node.name, node.name)
            place = next((at for sign in "$@?" if (at := text.find(sign, begin)) >= 0), begin)
            raise SqlMistake(f"a placeholder {shown!r} that is not written as :name", place, expected=":name")


def _is_query(tree: exp.Expr) -> bool:
    from sqlglot import exp

    if tree.find(exp.Into):
        into = tree.find(exp.Into)
        raise SqlMistake(f"SELECT … INTO is refused: {_TABLES}", _start(into.this if into else None, 0))
    pivot = isinstance(tree, exp.Pivot)
    return pivot or isinstance(tree, exp.Query | exp.Values)


def _changes(tree: exp.Expr) -> Iterator[exp.Expr]:
    """Yield the parts that change a table: the statement itself, or (PostgreSQL) what stands in its WITH.

    The INSERT and UPDATE inside of a MERGE have no table of their own.
    """
    from sqlglot import exp

    kinds = (exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.TruncateTable)
    for node in tree.find_all(*kinds):
        if not isinstance(node.parent, exp.When):
            yield node


def _changed_table(text: str, change: exp.Expr, begin: int) -> TableName:
    from sqlglot import exp

    if (returning := change.args.get("returning")) is not None:
        place = text.upper().rfind("RETURNING")
        message = "RETURNING is refused: a statement that changes tables gives no rows"
        raise SqlMistake(message, place if returning and place >= 0 else begin)
    targets = change.expressions if isinstance(change, exp.TruncateTable) else [change.this]
    if len(targets) != 1:
        raise SqlMistake("several tables at once", begin, expected="one statement a table")
    target = targets[0].this if isinstance(targets[0], exp.Schema) else targets[0]
    if not isinstance(target, exp.Table) or not isinstance(target.this, exp.Identifier):
        raise SqlMistake("it cannot be told which table this changes", begin, expected="dataset.table")
    if not target.db or target.catalog:
        message = f"{target.sql()!r} does not name a table"
        raise SqlMistake(message, _start(target, begin), expected="dataset.table")
    return TableName(target.db, target.name, _start(target, begin))


def _tables(tree: exp.Expr, begin: int) -> Iterator[TableName]:
    """Yield the tables that are named with their dataset; other names may stand for a WITH, or be the engine's."""
    from sqlglot import exp

    for table in tree.find_all(exp.Table):
        if isinstance(table.this, exp.Identifier) and table.db and not table.catalog:
            yield TableName(table.db, table.name, _start(table, begin))


def _start(node: exp.Expr | None, begin: int) -> int:
    """Return the offset of the first identifier of a node."""
    from sqlglot import exp

    found = (
        [part.meta["start"] for part in node.find_all(exp.Identifier) if "start" in part.meta] if node else []
    )
    return min(found, default=begin)
