"""`carnet map`: what a message becomes, without touching anything."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.progress import track

from broker import rendering
from broker.cli import output, send, setup
from broker.errors import CarnetError, ParseError, SetupError
from broker.mapper import Given, Mapper, Reading
from broker.mapping import catalogue

_NAMESPACE = "carnet map "


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """What `carnet map` prints of one message."""

    file: str
    index: int
    status: str
    reason: str | None = None
    place: str | None = None
    mapping: str | None = None
    documents: Sequence[Any] = ()
    issues: Sequence[Any] = ()
    unread: Sequence[str] = ()


@dataclass(slots=True)
class Count:
    """One source folder's figures."""

    files: int = 0
    messages: int = 0
    mapped: int = 0
    reasons: Counter[str] = field(default_factory=Counter)


def map_(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE…", help="Files; a folder stands for all below it.")
    ],
    config: setup.Config = None,
    explain: Annotated[
        str | None,
        typer.Option(
            metavar="FIELD", help="Say by which rule a field came about, like patient.birth_date."
        ),
    ] = None,
    coverage: Annotated[
        bool,
        typer.Option(
            "--coverage", help="Print the populated places that no rule reads, most frequent first."
        ),
    ] = False,
    summary: Annotated[
        bool, typer.Option("--summary", help="Print one line a folder instead of the documents.")
    ] = False,
    to: Annotated[
        str | None,
        typer.Option(
            metavar="FORM",
            help="Print each document as a destination would get it: "
            + ", ".join(rendering.FORMS)
            + ".",
        ),
    ] = None,
    using: Annotated[
        str,
        typer.Option(
            metavar="MAPPING",
            help="With --to: the outbound mapping instead of the one that applies.",
        ),
    ] = "",
    json: Annotated[
        bool,
        typer.Option(
            "--json", help="With --summary, --coverage or --explain: JSON lines instead of a table."
        ),
    ] = False,
) -> None:
    """Map messages to documents and print them, one JSON line a message. Touches nothing, sends nothing.

    The lines hold what the files hold: treat them as health data.

        carnet map samples/04-oru-utf8.hl7 | jq '.documents[0].patient'
        carnet map samples/04-oru-utf8.hl7 --explain patient.birth_date
        carnet map partner-files/ --coverage
        carnet map partner-files/ --summary
        carnet map samples/04-oru-utf8.hl7 --to fhir | jq .entry[0]
        carnet map samples/04-oru-utf8.hl7 --to hl7v2

    JSON, one line a message, batches and files of several messages included: {"file", "index",
    "status": "mapped" | "rejected", "reason", "place", "mapping", "documents": […], "issues": […], "unread": […]}.

    Exit codes: 0 everything mapped, 1 something was rejected, 2 usage or set-up.
    """
    if sum((explain is not None, coverage, summary, to is not None)) > 1:
        raise SetupError(
            "usage.map",
            where="carnet map",
            reason="--explain, --coverage, --summary and --to exclude each other",
        )
    if to is not None and to not in rendering.FORMS:
        raise SetupError(
            "usage.map",
            where="--to",
            reason="no such form",
            hint="one of " + ", ".join(rendering.FORMS),
        )
    found = catalogue.load(setup.read_settings(config).mappings.folders)
    mapper = Mapper(found)
    paths = list(send.files_of(files))
    counts: dict[str, Count] = {}
    unread: Counter[str] = Counter()
    rejected = 0
    shown = track(paths, "mapping", console=output.aside(), transient=True, disable=len(paths) < 50)
    for path in shown:
        count = counts.setdefault(str(path.parent), Count())
        count.files += 1
        for line, reading in lines_of(path, mapper):
            count.messages += 1
            count.mapped += line.status == "mapped"
            if line.status != "mapped":
                rejected += 1
                count.reasons[f"{line.reason} {line.place}".strip()] += 1
            unread.update(line.unread)
            if explain is not None:
                _explain(line, reading, found, explain, json)
            elif to is not None:
                good = _rendered(line, reading, found, to, using)
                rejected += line.status == "mapped" and not good
            elif not coverage and not summary:
                output.tell(line)
    if summary:
        _summary(counts, json)
    if coverage:
        _coverage(unread, json)
    raise typer.Exit(output.FOUND if rejected else output.GOOD)


def lines_of(path: Path, mapper: Mapper) -> Iterator[tuple[Line, Reading | None]]:
    """Every message of a file, mapped or rejected with its reason and place."""
    body = setup.bytes_of(path)
    try:
        bodies = mapper.messages_in(body) or [body]
    except ParseError as error:
        yield _rejected(path, 0, error), None
        return
    for index, one in enumerate(bodies):
        reading = mapper.read(one, given(one), coverage=True)
        if reading.failure is not None:
            yield _rejected(path, index, reading.failure), reading
            continue
        yield (
            Line(
                file=str(path),
                index=index,
                status="mapped",
                mapping=reading.mapping,
                documents=reading.documents,
                issues=reading.issues,
                unread=reading.unread,
            ),
            reading,
        )


def _rejected(path: Path, index: int, error: CarnetError) -> Line:
    return Line(
        file=str(path), index=index, status="rejected", reason=error.code, place=error.where or None
    )


def given(body: bytes) -> Given:
    """What a message is mapped with outside the broker: the same bytes, the same ids, so that two runs compare."""
    digest = hashlib.sha256(body).hexdigest()
    name = hashlib.sha256((_NAMESPACE + digest).encode()).hexdigest()
    message_id = f"{name[:8]}-{name[8:12]}-7{name[13:16]}-8{name[17:20]}-{name[20:32]}"
    return Given(
        message_id=message_id,
        source="map",
        received_at=datetime(2000, 1, 1, tzinfo=UTC).isoformat(),
        sha256=digest,
    )


def _explain(
    line: Line, reading: Reading | None, found: catalogue.MappingSet, target: str, as_json: bool
) -> None:
    """Each rule that gave a value to the field, document by document."""
    if reading is None or reading.mapped is None:
        output.say(f"{line.file}[{line.index}]: rejected, {line.reason} {line.place or ''}")
        return
    for number in range(len(reading.mapped.documents)):
        traces = found.explain(reading.mapped, number, target)
        if as_json:
            output.tell(
                {
                    "file": line.file,
                    "index": line.index,
                    "document": number,
                    "field": target,
                    "rules": traces,
                }
            )
            continue
        output.say(f"{line.file}\\[{line.index}] document {number}: {target}")
        for trace in traces:
            table = f" through {trace.table}" if trace.table else ""
            output.say(f"  from {_plain(trace.source)}{table}  [dim]{_plain(trace.rule)}[/]")
        if not traces:
            output.say("  no rule gave it a value")


def _rendered(
    line: Line, reading: Reading | None, found: catalogue.MappingSet, form: str, using: str
) -> bool:
    """Print every document of a message in a form, or say why one has none; whether all had one."""
    if reading is None or line.status != "mapped":
        output.aside().print(_plain(f"{line.file}[{line.index}]: {line.reason} {line.place or ''}"))
        return False
    good = True
    content = reading.attachments.__getitem__
    for document in reading.documents:
        try:
            _, body, issues = rendering.render(found, document, form, content, mapping=using)
        except CarnetError as error:
            output.aside().print(_plain(f"{line.file}[{line.index}]: {error}"))
            good = False
            continue
        output.tell_bytes(body)
        for issue in issues:
            place = f"{issue.source_path} {issue.target_path} {issue.detail}"
            output.aside().print(
                _plain(f"{line.file}[{line.index}]: {issue.code} {place}".rstrip())
            )
    return good


def _plain(text: str) -> str:
    return text.replace("[", "\\[")


def _summary(counts: dict[str, Count], as_json: bool) -> None:
    if as_json:
        for folder, count in sorted(counts.items()):
            output.tell(
                {
                    "folder": folder,
                    "files": count.files,
                    "messages": count.messages,
                    "mapped": count.mapped,
                    "rejected": count.messages - count.mapped,
                    "reasons": dict(count.reasons.most_common()),
                }
            )
        return
    rows = [
        (
            folder,
            count.files,
            count.messages,
            count.mapped,
            count.messages - count.mapped,
            ", ".join(f"{reason} x{n}" for reason, n in count.reasons.most_common(6)),
        )
        for folder, count in sorted(counts.items())
    ]
    total = [sum(int(row[n]) for row in rows) for n in range(1, 5)]
    output.table(
        "",
        ("folder", "#files", "#messages", "#mapped", "#rejected", "because"),
        [*rows, ("all", *total, "")],
    )


def _coverage(unread: Counter[str], as_json: bool) -> None:
    if as_json:
        for place, n in unread.most_common():
            output.tell({"place": place, "messages": n})
        return
    output.table(
        "populated places that no rule reads", ("place", "#messages"), unread.most_common()
    )
