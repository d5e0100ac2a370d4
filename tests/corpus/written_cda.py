"""Writes every document of the public corpus as CDA, holds it to the schema, and counts what became of it.

`python -m tests.corpus.written_cda` prints the table and everything that is not as it should be.
"""

from __future__ import annotations

import csv
import hashlib
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lxml import etree

from broker.document import Document
from broker.errors import CarnetError
from broker.mapper import Given, Mapper
from broker.mapping.catalogue import load
from broker.writing import cda
from tests.corpus.survey import CORPUS, FORMATS, MESSAGE_ID, PROJECT, files, messages_in

SCHEMA = PROJECT.parent / "shared" / "reference" / "cda-xsd" / "CDA_extended.xsd"
INVALID = Path(__file__).with_name("invalid_cda.tsv")
OUTCOMES = ("written", "invalid", "refused", "original", "changed", "invalid_at_author")


@dataclass(frozen=True, slots=True)
class Written:
    """One document.

    outcome: `written` anew and valid, or `invalid`, or `refused`; or the `original`, byte for byte and valid, or
    `invalid_at_author`, or `changed`, which must not be
    """

    file: str
    number: int
    outcome: str
    why: str = ""


def survey(corpus: Path = CORPUS) -> list[Written]:
    """Every document of the corpus."""
    mapper = Mapper(load(PROJECT / "mappings"))
    schema = etree.XMLSchema(etree.parse(SCHEMA))
    return [one for path in files(corpus) for one in _of_file(mapper, schema, corpus, path)]


def invalid_originals() -> dict[str, str]:
    """The reviewed list of CDA documents that are not valid as their authors published them, each with its reason."""
    with INVALID.open(encoding="utf-8", newline="") as text:
        rows = csv.reader((line for line in text if not line.startswith("#")), delimiter="\t")
        return {row[0]: row[1] for row in rows if row}


def table(found: list[Written]) -> str:
    """How many documents of each folder became what."""
    rows: dict[tuple[str, str], Counter[str]] = {}
    for one in found:
        kind, folder = one.file.split("/")[:2]
        for key in ((kind, folder), (kind, "all")):
            rows.setdefault(key, Counter())[one.outcome] += 1
    head = f"{'format':8}{'source':58}{'documents':>10}" + "".join(
        f"{name:>19}" for name in OUTCOMES
    )
    lines = [
        f"{kind:8}{folder:58}{sum(count.values()):>10}"
        + "".join(f"{count[name]:>19}" for name in OUTCOMES)
        for (kind, folder), count in sorted(rows.items(), key=lambda row: FORMATS.index(row[0][0]))
    ]
    return "\n".join([head, *lines])


def _of_file(
    mapper: Mapper, schema: etree.XMLSchema, corpus: Path, path: Path
) -> Iterator[Written]:
    name = path.relative_to(corpus).as_posix()
    try:
        bodies = messages_in(mapper, path.read_bytes())
    except CarnetError:
        return
    number = 0
    for body in bodies:
        digest = hashlib.sha256(body).hexdigest()
        given = Given(message_id=MESSAGE_ID, source="corpus", sha256=digest)
        reading = mapper.read(body, given)
        store = {**reading.attachments, digest: body}
        for document in reading.documents:
            outcome, why = _outcome(schema, document, store, body)
            yield Written(name, number, outcome, why)
            number += 1


def _outcome(
    schema: etree.XMLSchema, document: Document, store: dict[str, bytes], body: bytes
) -> tuple[str, str]:
    original = cda.original(document, store.__getitem__)
    try:
        data = cda.to_bytes(document, store.__getitem__)
    except CarnetError as error:
        return "refused", str(error)
    why = _problem(schema, data)
    if original is None:
        return ("invalid", why) if why else ("written", "")
    if not _is_untouched(document, data, body):
        return "changed", "other bytes than received"
    return ("invalid_at_author", why) if why else ("original", "")


def _is_untouched(document: Document, data: bytes, body: bytes) -> bool:
    """Whether both digests are those of the bytes received: of the message itself, or of the document it enclosed."""
    digests = {(item.sha256, item.sha1) for item in document.attachments if item.role == "main"}
    mine = (hashlib.sha256(data).hexdigest(), hashlib.sha1(data, usedforsecurity=False).hexdigest())
    is_message = document.source.format == "cda" and not document.source.parent
    return mine in digests and (not is_message or data == body or body[:2] == b"PK")


def _problem(schema: etree.XMLSchema, data: bytes) -> str:
    """The first thing the schema says against a document; empty when it is valid."""
    parser = etree.XMLParser(
        resolve_entities=False, load_dtd=False, no_network=True, huge_tree=True
    )
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        return f"not well-formed: {error.msg}"
    found = next(root.iter("{urn:hl7-org:v3}ClinicalDocument"), root)
    schema.validate(found)
    return "" if not schema.error_log else str(schema.error_log[0].message)


def main() -> int:
    """Print the table, and what is wrong or not reviewed."""
    found = survey()
    print(table(found))
    reviewed = invalid_originals()
    wrong = 0
    for one in found:
        is_expected = one.outcome == "invalid_at_author" and one.file in reviewed
        if one.outcome in ("written", "original") or is_expected:
            continue
        wrong += 1
        print(f"{one.file}#{one.number}\t{one.outcome}\t{one.why}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
