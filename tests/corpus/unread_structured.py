"""Lists what of the CDA and FHIR corpus no rule reads: place, number of messages, number of folders.

`python -m tests.corpus.unread_structured cda|fhir [--folders]` prints it, what `unread_structured.tsv` accepts left
out; `--all` shows that too. A place inside an entry is told from its clinical statement on, wherever that stands.
"""

from __future__ import annotations

import csv
import re
import sys
from collections import Counter
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from broker.errors import CarnetError
from broker.mapper import Given, Mapper
from broker.mapping.catalogue import load
from tests.corpus.survey import CORPUS, MESSAGE_ID, PROJECT, files, messages_in

ACCEPTED = Path(__file__).with_name("unread_structured.tsv")
STATEMENT = re.compile(
    r".*/(?=(?:section|act|observation|organizer|substanceAdministration|supply|procedure|encounter"
    r"|observationMedia|regionOfInterest)(?:/|$))"
)


def unread(kind: str, corpus: Path = CORPUS) -> dict[str, Counter[str]]:
    """Place to folder to the number of its messages in which it is populated and not read."""
    mapper = Mapper(load(PROJECT / "mappings"))
    found: dict[str, Counter[str]] = {}
    for folder, places in _messages(mapper, kind, corpus):
        for place in places:
            found.setdefault(place, Counter())[folder] += 1
    return found


def accepted() -> dict[str, str]:
    """The reviewed list: place (`*` stands for anything) to the reason it need not be read."""
    with ACCEPTED.open(encoding="utf-8", newline="") as text:
        rows = csv.reader((line for line in text if not line.startswith("#")), delimiter="\t")
        return {row[0]: row[2] for row in rows if row}


def is_accepted(place: str, known: dict[str, str]) -> bool:
    """Whether the list has the place, or a pattern of it."""
    return place in known or any(fnmatchcase(place, name) for name in known if "*" in name)


def _messages(mapper: Mapper, kind: str, corpus: Path) -> Iterator[tuple[str, set[str]]]:
    for path in files(corpus):
        folder = path.relative_to(corpus).parts
        if folder[0] != kind:
            continue
        body = path.read_bytes()
        try:
            bodies = messages_in(mapper, body)
        except CarnetError:
            continue
        for one in bodies:
            reading = mapper.read(one, Given(message_id=MESSAGE_ID, source="corpus"), coverage=True)
            yield folder[1], {STATEMENT.sub("", place) for place in reading.unread}


def main() -> int:
    kinds = [a for a in sys.argv[1:] if not a.startswith("-")] or ["cda", "fhir"]
    known = {} if "--all" in sys.argv else accepted()
    for kind in kinds:
        found = unread(kind)
        open_ = {p: c for p, c in found.items() if not is_accepted(p, known)}
        for place, folders in sorted(open_.items(), key=lambda item: -sum(item[1].values())):
            where = " ".join(f"{f}={n}" for f, n in folders.most_common())
            tail = f"\t{where}" if "--folders" in sys.argv else f"\t{len(folders)} folders"
            print(f"{place}\t{sum(folders.values())}{tail}")
        total = sum(sum(c.values()) for c in open_.values())
        print(f"# {kind}: {len(open_)} places, {total} with their messages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
