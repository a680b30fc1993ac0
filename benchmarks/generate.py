"""Makes mail and form exports in volume, the same for the same seed, without holding them in memory.

    python benchmarks/generate.py mail 100000 FOLDER     an mbox file FOLDER/inbox.mbox
    python benchmarks/generate.py forms 100000 FOLDER    CSV files FOLDER/<binding>.csv, 100000 responses in
    all

The messages are invented, addresses are of example.org; answers follow a made-up severity per respondent.
"""

from __future__ import annotations

import argparse
import random
import sys
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

START = datetime(2026, 1, 1, tzinfo=UTC)
"""When the first message is sent and the first response submitted."""

_TEXT = """please find the notes of our last meeting below and tell me whether the appointment on friday still
suits you we moved the room and the questionnaire takes about twenty minutes thank you for your patience and
regards"""
_WORDS = _TEXT.split()
_NAMES = ("Ada Field", "Noor Haddad", "Kim Mueller", "Åsa Berg", "Sam Ito", "Renée Lindqvist", "Robin Sample")
_MAX_ANSWER = {"phq15": 2, "pcptsd5": 1}
"""Greatest answer by questionnaire where it is not 3."""


def mail(folder: Path, n: int, *, seed: int = 1) -> Path:
    """Write `n` varied messages to `folder/inbox.mbox` and return its path.

    Plain, quoted-printable and HTML texts, attachments, encoded subjects and names, replies, groups, a broken
    date now and then; about 1.3 kB each. Every message has its own Message-ID, so no two are equal.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "inbox.mbox"
    chance = random.Random(seed)
    with path.open("wb") as file:
        for number in range(n):
            sent = START + timedelta(minutes=number)
            date = f"{sent:%a %b} {sent.day:2} {sent:%H:%M:%S %Y}"
            file.write(f"From sender{number % 97}@example.org {date}\n".encode())
            file.write(message(number, sent, chance).encode("utf-8"))
            file.write(b"\n")
    return path


def message(number: int, sent: datetime, chance: random.Random) -> str:
    """One message with LF line ends; its kind follows from `number`."""
    name = _NAMES[number % len(_NAMES)]
    sender = (
        f'"{name.split()[1]}, {name.split()[0]}"' if number % 3 == 0 and name.isascii() else _encoded(name)
    )
    head = [
        f"From: {sender} <sender{number % 97}@example.org>",
        "To: Intake Desk <intake@clinic.example.test>"
        + (", team@clinic.example.test" if number % 4 == 0 else ""),
        f"Subject: {_encoded(f'Re: Größe {number}') if number % 5 == 0 else f'Message {number}'}",
        f"Date: {'some day' if number % 50 == 49 else format_datetime(sent)}",
        f"Message-ID: <{number}@example.org>",
    ]
    if number % 6 == 5:
        head.append(f"In-Reply-To: <{number - 5}@example.org>")
        head.append(f"References: <{number - 5}@example.org>")
    text = "\n".join(" ".join(chance.choices(_WORDS, k=12)) for _ in range(12)) + "\n"
    body = (
        _multipart(text, number) if number % 10 == 3 else f"Content-Type: text/plain; charset=utf-8\n\n{text}"
    )
    return "\n".join(head) + "\nMIME-Version: 1.0\n" + body


def _multipart(text: str, number: int) -> str:
    boundary = f"b{number}"
    return (
        f'Content-Type: multipart/mixed; boundary="{boundary}"\n\n'
        f"--{boundary}\nContent-Type: text/plain; charset=utf-8\n\n{text}"
        f"--{boundary}\nContent-Type: text/html; charset=utf-8\n\n<p>{text}</p>\n"
        f'--{boundary}\nContent-Type: text/csv; name="n{number}.csv"\n'
        f"Content-Disposition: attachment\nContent-Transfer-Encoding: base64\n\nYTtiCjE7Mgo=\n"
        f"--{boundary}--\n"
    )


def _encoded(text: str) -> str:
    """`text` as an RFC 2047 encoded word, if it needs one."""
    if text.isascii():
        return text
    safe = "".join(
        chr(byte) if chr(byte).isalnum() and byte < 128 else f"={byte:02X}" for byte in text.encode("utf-8")
    )
    return f"=?utf-8?q?{safe}?="


def forms(
    folder: Path,
    n: int,
    *,
    bindings: Sequence[str] = ("intake_01",),
    seed: int = 1,
    first: int = 0,
    missing_rate: float = 0.01,
) -> list[Path]:
    """Write `n` responses, shared evenly among `bindings`, to `folder/<binding>.csv`; return the paths.

    Responses are numbered from `first`, so a second call can add new ones in another folder. A `missing_rate`
    of the answers is empty. Raises KeyError for an unknown binding.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for index, binding in enumerate(bindings):
        count = n // len(bindings) + (index < n % len(bindings))
        path = folder / f"{binding}.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            file.writelines(
                _csv_lines(
                    binding, range(first, first + count), random.Random(f"{seed}:{binding}"), missing_rate
                )
            )
        paths.append(path)
    return paths


def _csv_lines(binding: str, numbers: range, chance: random.Random, missing_rate: float) -> Iterator[str]:
    from jobs.formation.bindings import question_ids  # the project must be on the path first

    questions = question_ids(binding)
    tops = [_MAX_ANSWER.get(question.rpartition("_")[0], 3) for question in questions]
    yield (
        ",".join(
            ["response_id", "form_id", "binding_id", "respondent_external_id", "submitted_at", *questions]
        )
        + "\n"
    )
    for number in numbers:
        severity = chance.random()
        submitted = START + timedelta(seconds=30 * number)
        answers = (
            "" if chance.random() < missing_rate else str(int((severity + chance.random()) / 2 * (top + 1)))
            for top in tops
        )
        yield (
            f"{binding}-{number:07d},clinic-{binding},{binding},P-{number % 5000:05d},"
            f"{submitted.isoformat()},{','.join(answers)}\n"
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """The script: KIND N FOLDER, options --seed and, for forms, --bindings."""
    parser = argparse.ArgumentParser(description="Make mail or form exports in volume.")
    parser.add_argument("kind", choices=("mail", "forms"))
    parser.add_argument("n", type=int)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bindings", nargs="+", default=["intake_01"])
    given = parser.parse_args(arguments)
    if given.kind == "mail":
        made = [mail(given.folder, given.n, seed=given.seed)]
    else:
        made = forms(given.folder, given.n, bindings=given.bindings, seed=given.seed)
    for path in made:
        print(f"{path}  {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    main()
