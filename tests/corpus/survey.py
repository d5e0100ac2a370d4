"""Takes every file of the public corpus through recognise, split, parse and map, and counts what became of it.

`python -m tests.corpus.survey [CORPUS]` prints the table and every rejection that is not in `invalid.tsv`.
"""

from __future__ import annotations

import csv
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from broker.errors import CarnetError
from broker.mapper import Given, Mapper, errors_of
from broker.mapping.catalogue import load
from broker.parsing import fhir, media

PROJECT = Path(__file__).resolve().parents[2]
CORPUS = PROJECT.parent / "shared" / "corpus"
INVALID = Path(__file__).with_name("invalid.tsv")
FORMATS = ("hl7v2", "cda", "fhir", "xdm")
MESSAGE_ID = "018f0000-0000-7000-8000-000000000000"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One message of one file. `error` is empty when it was mapped to at least one document or to none on purpose.

    crash: the type of an exception that is not ours; there must be none
    """

    file: str
    format: str
    folder: str
    index: int
    error: str = ""
    crash: str = ""
    documents: int = 0

    @property
    def is_mapped(self) -> bool:
        return not self.error and not self.crash


def files(corpus: Path) -> Iterator[Path]:
    """The files of the corpus, manifests left out."""
    for name in FORMATS:
        yield from sorted(
            p for p in (corpus / name).rglob("*") if p.is_file() and p.suffix != ".tsv"
        )


def invalid() -> dict[str, str]:
    """The reviewed list of files that are not valid messages, each with its reason."""
    with INVALID.open(encoding="utf-8", newline="") as text:
        rows = csv.reader((line for line in text if not line.startswith("#")), delimiter="\t")
        return {row[0]: row[1] for row in rows if row}


def examine(mapper: Mapper, corpus: Path, path: Path) -> list[Outcome]:
    """What became of each message of a file."""
    body = path.read_bytes()
    name = path.relative_to(corpus).as_posix()
    kind, folder = name.split("/")[:2]
    try:
        bodies = messages_in(mapper, body)
    except CarnetError as error:
        return [Outcome(name, kind, folder, 0, str(error))]
    except Exception as error:  # noqa: BLE001 - the survey is to report exactly these
        return [Outcome(name, kind, folder, 0, crash=f"split: {type(error).__name__}")]
    return [_one(mapper, name, index, message) for index, message in enumerate(bodies)]


def messages_in(mapper: Mapper, body: bytes) -> list[bytes]:
    """The messages of a file, FHIR resources one after the other included."""
    if media.recognise(body) == "fhir-r4":
        return fhir.split(body)
    return mapper.messages_in(body)


def _one(mapper: Mapper, name: str, index: int, body: bytes) -> Outcome:
    kind, folder = name.split("/")[:2]
    try:
        reading = mapper.read(body, Given(message_id=MESSAGE_ID, source="corpus"))
    except Exception as error:  # noqa: BLE001 - the survey is to report exactly these
        return Outcome(name, kind, folder, index, crash=f"{type(error).__name__}: {error}")
    rejection = ""
    if reading.failure is not None:
        rejection = str(reading.failure)
    elif issues := errors_of(reading.issues):
        rejection = f"{issues[0].code} {issues[0].source_path or issues[0].detail}"
    return Outcome(name, kind, folder, index, rejection, documents=len(reading.documents))


def survey(corpus: Path = CORPUS, processes: int = 2) -> list[Outcome]:
    """Every message of the corpus."""
    paths = list(files(corpus))
    shares = [paths[start::processes] for start in range(processes)]
    with ProcessPoolExecutor(processes) as pool:
        done = pool.map(_share, [corpus] * processes, shares)
    return sorted((o for share in done for o in share), key=lambda o: (o.file, o.index))


def _share(corpus: Path, paths: list[Path]) -> list[Outcome]:
    mapper = Mapper(load(PROJECT / "mappings"))
    return [outcome for path in paths for outcome in examine(mapper, corpus, path)]


def table(outcomes: list[Outcome]) -> str:
    """Messages, valid ones, mapped ones and documents, per format and source folder."""
    bad = invalid()
    rows: dict[tuple[str, str], Counter[str]] = {}
    for one in outcomes:
        for key in ((one.format, one.folder), (one.format, "all")):
            count = rows.setdefault(key, Counter())
            count["messages"] += 1
            count["documents"] += one.documents
            if one.file not in bad:
                count["valid"] += 1
                count["mapped"] += one.is_mapped
    lines = [
        f"{'format':8}{'source':58}{'messages':>9}{'valid':>7}{'mapped':>8}{'%':>7}{'documents':>11}"
    ]
    for (kind, folder), count in sorted(rows.items()):
        share = f"{100 * count['mapped'] / count['valid']:.1f}" if count["valid"] else "-"
        lines.append(
            f"{kind:8}{folder:58}{count['messages']:>9}{count['valid']:>7}{count['mapped']:>8}"
            f"{share:>7}{count['documents']:>11}"
        )
    return "\n".join(lines)


def main() -> int:
    corpus = Path(sys.argv[1]) if len(sys.argv) > 1 else CORPUS
    outcomes = survey(corpus)
    print(table(outcomes))
    bad = invalid()
    for one in outcomes:
        if not one.is_mapped and one.file not in bad:
            print(f"{one.file}#{one.index}\t{one.crash or one.error}")
    return 1 if any(one.crash for one in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
