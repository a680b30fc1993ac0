"""Which folders of an account are read."""

from __future__ import annotations

from collections.abc import Sequence

from runner.errors import SourceError
from runner.sources.imap.account import Account
from runner.sources.imap.line import Line
from runner.sources.imap.names import Folder, matching


def chosen(line: Line, account: Account, folders: Sequence[str], exclude: Sequence[str]) -> list[Folder]:
    """Return the folders of these names and patterns, each once, in their order.

    Names without a pattern are not looked up: opening them tells. Raises `SourceError` for a pattern that fits none,
    so that a slip of the pen does not leave mail unread.
    """
    if not exclude and not any("*" in name for name in folders):
        return list({folder.name: folder for folder in map(Folder.named, folders)}.values())
    known = line.ask(lambda session: session.folders())
    for pattern in folders:
        if not matching(known, [pattern]):
            names = ", ".join(folder.name for folder in known)[:500]
            raise SourceError(
                account.server, f"no folder matches {pattern!r}", hint=f"there are {names or 'none'}"
            )
    left_out = {folder.name for folder in matching(known, exclude)}
    return [folder for folder in matching(known, folders) if folder.name not in left_out]
