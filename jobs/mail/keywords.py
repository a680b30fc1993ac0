"""Keywords of a message (RFC 8621 section 4.1.1) from what mailboxes keep of them.

Maildir says them in the file name (F flagged, P passed on, R replied, S seen, T trashed, D draft); mbox
programs in the headers Status (R read) and X-Status (A answered, F flagged, T draft, D deleted).
"""

from __future__ import annotations

_MAILDIR = {
    "D": "$draft",
    "F": "$flagged",
    "P": "$forwarded",
    "R": "$answered",
    "S": "$seen",
    "T": "$deleted",
}
_STATUS = {"R": "$seen"}
_X_STATUS = {"A": "$answered", "F": "$flagged", "T": "$draft", "D": "$deleted"}


def keywords_of(flags: str | None, status: str | None, x_status: str | None) -> dict[str, bool]:
    """The keywords as RFC 8621's object: each that is set, with the value true, in alphabetical order.

    `flags` are the letters of a Maildir name, `status` and `x_status` the headers; None where there is none.
    Unknown letters mean nothing.
    """
    given = ((flags, _MAILDIR), (status, _STATUS), (x_status, _X_STATUS))
    names = {known[letter] for letters, known in given for letter in letters or "" if letter in known}
    return dict.fromkeys(sorted(names), True)
