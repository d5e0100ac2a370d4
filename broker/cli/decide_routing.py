"""`carnet decide` for a message: each routing rule, what became of it, and where the documents go. For `cli.decide`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import typer
from rich.markup import escape

from broker.cli import map as map_command
from broker.cli import opened, output, setup
from broker.cli.mapping_diff import in_use
from broker.database.engine import reading
from broker.document import Document
from broker.errors import ParseError, SetupError
from broker.mapper import Given, Mapper
from broker.mapping import catalogue
from broker.mapping_sets import kept, sets_folder
from broker.recipients import outlook
from broker.records import message_detail, patients
from broker.records.patients import PatientRow
from broker.routing import words
from broker.routing.load import of_site
from broker.rules import decide as rules_of
from broker.rules.routing import EVERY, Considered, Routed, Routing, facts_of
from broker.rules.routing_facts import Facts
from broker.settings import Settings

_MARKS = {"taken": "✓", "idle": "·", "failed": "–", "not_yet": "–", "stopped": "·"}


@dataclass(frozen=True, slots=True)
class Asked:
    """One message to be routed: what it is called, its bytes, and what is known of it beside them."""

    name: str
    body: bytes = field(repr=False)
    source: str
    media: str = ""
    charset: str = ""
    patient: PatientRow | None = None


def of_files(
    given: Settings, files: Sequence[Path], source: str, account: str, *, as_json: bool
) -> None:
    """Route the messages of files as if they came by a source now, by the set of the settings' folders."""
    _expect_source(given, source)
    mapper = Mapper(catalogue.load(given.mappings.folders))
    patient = PatientRow(0, account=account)
    asked = []
    for path in files:
        body = setup.bytes_of(path)
        try:
            bodies = mapper.messages_in(body) or [body]
        except ParseError:
            bodies = [body]
        asked += [
            Asked(
                f"{path.name}[{n}]" if len(bodies) > 1 else path.name, one, source, patient=patient
            )
            for n, one in enumerate(bodies)
        ]
    _decide(given, mapper, asked, as_json=as_json)


def of_message(given: Settings, name: str, *, then: bool, as_json: bool) -> None:
    """Route a stored message as it would be now; with `then` by the set that read it when it came."""
    ledger = opened.Ledger(given)
    with reading(ledger.engine) as connection:
        lines = message_detail.find(connection, name)
        if len(lines) != 1:
            said = f"{len(lines)} messages have this control id" if lines else "no such message"
            output.aside().print(said)
            raise typer.Exit(output.FOUND)
        line = lines[0]
        found = message_detail.detail(connection, line.id)
        body = message_detail.body(connection, line.seq)
        person = patients.of_message(connection, line.seq)
        folders: Sequence[Path] | None = None
        if then and found is not None and found.mapping_set:
            folder = sets_folder(given.site.data_folder)
            folders = kept(connection, found.mapping_set, folder)
    if found is None or body is None:
        output.aside().print("the bytes of this message are not kept any more")
        raise typer.Exit(output.FOUND)
    if then and folders is None:
        raise SetupError(
            "usage.decide",
            where="--then",
            reason="the set that read this message is not kept here",
            hint="without --then it is routed by the set in use",
        )
    mapper = Mapper(catalogue.load(folders or in_use(given)))
    asked = Asked(line.id, body, line.source, found.media, found.charset_declared, person)
    _decide(given, mapper, [asked], as_json=as_json)


def _decide(given: Settings, mapper: Mapper, asked: Sequence[Asked], *, as_json: bool) -> None:
    routing = of_site(given)(mapper.mapping_set)
    access = rules_of.load(given.rules.folder, given.rules.switched)
    now = datetime.now(UTC)
    goes = True
    for one in asked:
        seen = mapper.read(one.body, _given(one))
        if seen.failure is not None or not seen.documents:
            failure = seen.failure
            code = failure.code if failure is not None else "mapping.no_document"
            if as_json:
                output.tell({"message": one.name, "reason": code})
            else:
                output.say(f"[bold]{escape(one.name)}[/]: {escape(output.because(code))}")
            goes = False
            continue
        for number, facts in enumerate(_facts(one, seen.documents, seen.format, now)):
            routed = routing.decide(facts)
            considered = routing.consider(facts)
            withheld = _withheld(given, access, facts, routed)
            goes = goes and len(routed.sent) > len(withheld)
            if as_json:
                output.tell(_plain(one.name, number, facts, routed, considered, withheld))
            else:
                _show(one.name, number, facts, routing, routed, considered, withheld)
    raise typer.Exit(output.GOOD if goes else output.FOUND)


def _withheld(
    given: Settings, access: rules_of.Rules, facts: Facts, routed: Routed
) -> dict[str, str]:
    """Destinations a rule sends to, and that get nothing all the same; and why not.

    Those that are the patient's record, where the document may not be filed there; and those that write to recipients,
    where it names nobody they may write to.
    """
    found = {}
    for to, _ in routed.sent:
        asked = given.destinations[to].per_recipient
        if asked is not None and (why := outlook(facts.document, asked)[1]):
            found[to] = why
    record = [to for to, _ in routed.sent if given.destinations[to].for_record]
    if not record or facts.patient is None:
        return found
    filing = access.filing(facts.patient, facts.document, facts.now)
    return found if filing.allowed else found | dict.fromkeys(record, filing.reason)


def _given(one: Asked) -> Given:
    known = map_command.given(one.body)
    return replace(known, source=one.source, media=one.media, charset=one.charset)


def _facts(one: Asked, documents: Sequence[Document], form: str, now: datetime) -> Iterator[Facts]:
    """What the rules look at; what the message itself says of consent holds, as it does when it is filed."""
    patient = one.patient
    if patient is not None:
        said = [
            patients.ConsentSaid(patient.id, consent, one.source, 0)
            for document in documents
            for consent in document.consents
        ]
        patient = patients.after(patient, said, now)
    for document in documents:
        yield facts_of(document, one.source, one.media, form, patient, now)


def _plain(
    name: str,
    number: int,
    facts: Facts,
    routed: Routed,
    considered: Sequence[Considered],
    withheld: Mapping[str, str],
) -> dict[str, object]:
    return {
        "message": name,
        "document": number,
        "kind": facts.document.kind,
        "sent": [{"to": to, "rule": rule} for to, rule in routed.sent],
        "filtered": [
            {"to": one.destination or None, "rule": one.rule, "reason": one.reason}
            for one in routed.filtered
        ],
        "withheld": [{"to": to, "reason": reason} for to, reason in withheld.items()],
        "rules": [
            {
                "rule": one.rule.id,
                "state": one.state,
                "destinations": [to for to in one.done if to != EVERY],
                "failed": one.failed.name if one.failed is not None else None,
                "en": words.became(one, "en"),
                "fr": words.became(one, "fr"),
                "place": one.rule.place or None,
            }
            for one in considered
        ],
    }


def _show(
    name: str,
    number: int,
    facts: Facts,
    routing: Routing,
    routed: Routed,
    considered: Sequence[Considered],
    withheld: Mapping[str, str],
) -> None:
    output.say(f"[bold]{escape(name)}[/], document {number}: {facts.document.kind}")
    sentences = {rule.id: rule.en for rule in routing.rules}
    for to, rule in routed.sent:
        output.say(f"  [green]sent to[/] {escape(to)} by {escape(_said(rule, sentences))}")
    for one in routed.filtered:
        to = one.destination or ("every other destination" if routed.sent else "every destination")
        output.say(
            f"  [bold red]filtered for[/] {escape(to)} by {escape(_said(one.rule, sentences))}"
        )
    for to, reason in withheld.items():
        output.say(f"  [bold red]withheld from[/] {escape(to)}: {escape(output.because(reason))}")
    if not routed.sent and not routed.filtered:
        output.say("  no rule sends it anywhere")
    rows = [
        (_MARKS[one.state], one.rule.id, words.became(one), one.rule.place or "settings")
        for one in considered
    ]
    output.table("", ("", "rule", "what became of it", "where it stands"), rows)


def _said(rule: str, sentences: dict[str, str]) -> str:
    sentence = sentences.get(rule, "")
    return f"{rule}: {sentence}" if sentence else rule


def _expect_source(given: Settings, source: str) -> None:
    if source not in given.sources:
        known = ", ".join(sorted(given.sources))
        raise SetupError(
            "usage.decide",
            where="--source",
            reason="say by which source the files come" if not source else "no such source",
            hint=f"one of {known}"
            if known
            else "the settings have no source: name them with --config",
        )
