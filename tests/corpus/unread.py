"""What the messages of the public corpus say and no rule reads: `python -m tests.corpus.unread [FORMAT]`.

Coverage in full mode, as `carnet map --coverage` and the golden tests run it: a field read only under a `when` that
does not hold counts as unread. Paths and counts only. For each path that is left, `unread.tsv` has a reviewed reason;
`--new` prints only those without one.
"""

from __future__ import annotations

import csv
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from broker.errors import CarnetError
from broker.mapper import Given, Mapper
from broker.mapping.catalogue import load
from tests.corpus.survey import CORPUS, MESSAGE_ID, PROJECT, files, messages_in

REVIEWED = Path(__file__).with_name("unread.tsv")
FORMATS = ("hl7v2",)
"""Formats that `unread.tsv` answers for."""


@dataclass(frozen=True, slots=True)
class Unread:
    """A path that is populated in `count` of `messages` messages of one type and that no rule of `mapping` reads."""

    mapping: str
    message_type: str
    path: str
    count: int
    messages: int


@dataclass(frozen=True, slots=True)
class Reviewed:
    """A row of `unread.tsv`; `*` in mapping or path stands for anything, `count` is over all message types."""

    mapping: str
    path: str
    count: int
    reason: str

    def covers(self, mapping: str, path: str) -> bool:
        """Whether this row is the reason for a path of a mapping."""
        literal = self.path.replace("[", "[[]")
        return fnmatchcase(mapping, self.mapping) and fnmatchcase(path, literal)


def unread(formats: Iterable[str] = FORMATS, corpus: Path = CORPUS) -> list[Unread]:
    """Every unread path of the corpus, by mapping, message type and path."""
    mapper = Mapper(load(PROJECT / "mappings"))
    messages: Counter[tuple[str, str]] = Counter()
    counts: Counter[tuple[str, str, str]] = Counter()
    for body in _bodies(mapper, set(formats), corpus):
        reading = mapper.read(body, Given(message_id=MESSAGE_ID, source="corpus"), coverage=True)
        if not reading.documents:
            continue
        kind = (reading.mapping, reading.documents[0].source.message_type)
        messages[kind] += 1
        counts.update((*kind, path) for path in set(reading.unread))
    return [
        Unread(mapping, kind, path, count, messages[mapping, kind])
        for (mapping, kind, path), count in sorted(counts.items())
    ]


def reviewed() -> list[Reviewed]:
    """The rows of `unread.tsv`, in their order."""
    with REVIEWED.open(encoding="utf-8", newline="") as text:
        rows = csv.reader((line for line in text if not line.startswith("#")), delimiter="\t")
        return [Reviewed(row[0], row[1], int(row[2]), row[3]) for row in rows if row]


def without_reason(found: Iterable[Unread], rows: list[Reviewed]) -> list[Unread]:
    """Those that no row covers."""
    return [one for one in found if not any(row.covers(one.mapping, one.path) for row in rows)]


def counted(found: Iterable[Unread], rows: list[Reviewed]) -> list[tuple[Reviewed, int]]:
    """Each row with how often what it is the first to cover is populated."""
    counts = dict.fromkeys(rows, 0)
    for one in found:
        row = next((row for row in rows if row.covers(one.mapping, one.path)), None)
        if row is not None:
            counts[row] += one.count
    return list(counts.items())


def _bodies(mapper: Mapper, formats: set[str], corpus: Path) -> Iterator[bytes]:
    for path in files(corpus):
        if path.relative_to(corpus).parts[0] in formats:
            try:
                yield from messages_in(mapper, path.read_bytes())
            except CarnetError:
                continue


def main() -> int:
    arguments = sys.argv[1:]
    formats = [one for one in arguments if not one.startswith("-")] or FORMATS
    found = unread(formats)
    if "--new" in arguments:
        found = without_reason(found, reviewed())
    for one in found:
        print(
            f"{one.mapping}\t{one.message_type}\t{one.path}\t"
            f"populated in {one.count} of {one.messages} messages, never mapped"
        )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
