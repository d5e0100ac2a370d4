"""`carnet decide`: a decision with its reasons, real or hypothetical; shows nothing of the record and leaves no trace."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.markup import escape

from broker.access import ALIASES, Decision, Viewer
from broker.cli import decide_routing, opened, output, people, setup, supposing
from broker.errors import SetupError
from broker.records import reading
from broker.rules import decide as rules_of


def decide(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FILE]…", help="Messages: say where the routing rules send them."),
    ] = None,
    config: setup.Config = None,
    message: Annotated[
        str | None,
        typer.Option(
            metavar="ID", help="A stored message: say where the routing rules send it, and why."
        ),
    ] = None,
    source: Annotated[
        str, typer.Option(metavar="NAME", help="With FILE: the source they would come by.")
    ] = "",
    then: Annotated[
        bool,
        typer.Option(
            "--then", help="With --message: by the set that read it, instead of the one in use."
        ),
    ] = False,
    document: Annotated[str | None, typer.Option(metavar="ID", help="A filed document.")] = None,
    who: Annotated[
        str | None,
        typer.Option("--as", metavar="WHO", help="With --document: who wants to read it."),
    ] = None,
    profession: Annotated[
        str | None, typer.Option(help="Hypothetical: a profession (podiatrist, G15_80, MEDECIN).")
    ] = None,
    type_code: Annotated[
        str | None,
        typer.Option("--type", metavar="CODE", help="Hypothetical: the document's type (11490-0)."),
    ] = None,
    masked: Annotated[
        bool, typer.Option("--masked", help="Hypothetical: the patient masked it.")
    ] = False,
    account: Annotated[
        str, typer.Option(help="Hypothetical: state of the patient's space.")
    ] = "active",
    supposed: Annotated[
        list[str] | None,
        typer.Option(
            "--if",
            metavar="WHAT=HOW",
            help="Suppose something else: matrix:GROUP/TYPE=O, consent=none, team=given, masked=yes, blocked=yes, "
            "traitant=yes, account=closed, born=2010-05-01, switch:NAME=VALUE. May be repeated.",
        ),
    ] = None,
    at: Annotated[str, typer.Option("--at", metavar="DATE", help="Decide as on that day.")] = "",
    reference: Annotated[
        str | None,
        typer.Option(
            metavar="D-…", help="A decision that was made: explain it, and decide it again."
        ),
    ] = None,
    motive: people.Motive = "",
    json: setup.AsJson = False,
) -> None:
    """Say what the rules answer, which rule it was, and in which version.

    Of access: may somebody see a document? Of routing: where do a message's documents go?

        carnet decide --profession podiatrist --type 11490-0
        carnet decide --profession podiatrist --type 34112-3 --if matrix:PEDICURE_PODOLOGUE/34112-3=O
        carnet decide --profession physician --type 34112-3 --if team=none --at 2024-06-01
        carnet decide --document 019a… --as physician,structure=990000001
        carnet decide --reference D-7K2M-0Q4X-9RTV
        carnet decide report.hl7 --source lab
        carnet decide --message 019a…

    Of access the steps that were asked are shown in their order; a hypothetical patient has consented unless supposed
    otherwise. Of routing each rule is listed: what it did, or the first of its conditions that did not hold. A file is routed by
    the folders of the settings, of a patient who said nothing but what the message says; a stored message by the set in
    use, with its patient's consents of today.

    JSON: {"allowed", "rule", "reason", "rules_version", "matrix_version", "consent_version", "en", "fr", "path":
    [{"step", "rule", "said"}]}, and for --reference also {"at", "subject", "same_today"}. Of routing, one line a document: {"message", "document", "kind",
    "sent": [{"to", "rule"}], "filtered": [{"to", "rule", "reason"}], "withheld": [{"to", "reason"}], "rules": [{"rule", "state", "destinations",
    "failed", "en", "fr", "place"}]}, or {"message", "reason"} of a message without documents.

    Exit codes: 0 allowed, or every document goes somewhere; 1 refused, goes nowhere, or not found; 2 usage or set-up.
    """
    if sum(option is not None for option in (document, profession, reference, message, files)) != 1:
        raise SetupError(
            "usage.decide",
            where="carnet decide",
            reason="give one of --document, --profession, --reference, --message or FILE",
            hint="carnet decide --profession podiatrist --type 11490-0",
        )
    settings = setup.read_settings(config)
    if files is not None:
        decide_routing.of_files(settings, files, source, account, as_json=json)
        return
    if message is not None:
        decide_routing.of_message(settings, message, then=then, as_json=json)
        return
    rules = rules_of.load(settings.rules.folder, settings.rules.switched)
    now = supposing.instant(at) if at else datetime.now(UTC)
    if profession is not None:
        facts = hypothetical(rules, profession, type_code or "", account, now, masked=masked)
        _show(*supposing.suppose(rules, facts, supposed or ()), json)
    elif reference is not None:
        _kept(rules, opened.Ledger(settings), reference, json)
    else:
        facts = _real(rules, opened.Ledger(settings), document or "", who, motive, now)
        _show(*supposing.suppose(rules, facts, supposed or ()), json)


def hypothetical(
    rules: rules_of.Rules,
    profession: str,
    type_code: str,
    account: str,
    now: datetime,
    *,
    masked: bool = False,
) -> rules_of.Facts:
    """Somebody of a profession whom the patient let in, before a document of a type that nobody has filed."""
    group = ALIASES.get(profession.lower(), profession)
    return rules_of.Facts(
        action="read",
        now=now,
        patient=0,
        account=account,
        consent_version=0,
        viewer=Viewer(kind="professional", id=f"unnamed:{group}", profession=group),
        document="hypothetical",
        type_code=type_code,
        masked_ps=masked,
        availability="current",
        explicit="IC",
        switches=rules.in_force(now)[1],
    )


def _real(
    rules: rules_of.Rules,
    ledger: opened.Ledger,
    document: str,
    who: str | None,
    motive: str,
    now: datetime,
) -> rules_of.Facts:
    if who is None:
        raise SetupError(
            "usage.decide", where="--as", reason="say who wants to read it", hint="--as podiatrist"
        )
    made = reading.hypothetical(
        ledger.engine,
        people.viewer_of(who, motive),
        document,
        decide=rules.reading,
        now=now,
    )
    if made is None:
        output.aside().print("no such document")
        raise typer.Exit(output.FOUND)
    return msgspec.convert(made.inputs, rules_of.Facts)


def _kept(rules: rules_of.Rules, ledger: opened.Ledger, reference: str, as_json: bool) -> None:
    row = reading.decision_of(ledger.engine, reference.upper())
    if row is None:
        output.aside().print("no such decision")
        raise typer.Exit(output.FOUND)
    again = rules.replay(row.inputs)
    is_same = (again.allowed, again.rule) == (row.allowed, row.rule)
    if as_json:
        output.tell(
            said(rules, row.decision)
            | {"at": row.at, "subject": row.subject, "same_today": is_same}
        )
    else:
        output.say(
            f"{row.reference} of {row.at.isoformat(timespec='seconds')} on {escape(row.subject)}"
        )
        _sentences(rules, row.decision)
        output.say(
            f"  decided again with the same inputs: {'the same' if is_same else 'different'}"
        )
    raise typer.Exit(output.GOOD if row.allowed else output.FOUND)


def _show(rules: rules_of.Rules, facts: rules_of.Facts, as_json: bool) -> None:
    made = rules.judge(facts)
    path = [
        {
            "step": step,
            "rule": verdict[1] if verdict is not None else "",
            "said": "" if verdict is None else "allow" if verdict[0] else "deny",
        }
        for step, verdict in rules.path(facts)
    ]
    if as_json:
        output.tell(said(rules, made) | {"path": path})
    else:
        _sentences(rules, made)
        steps = (
            f"{one['step']} {one['rule']}".strip() if one["said"] else one["step"] for one in path
        )
        output.say(f"  asked: {' → '.join(steps)}")
    raise typer.Exit(output.GOOD if made.allowed else output.FOUND)


def said(rules: rules_of.Rules, made: Decision) -> dict[str, object]:
    """A decision for programs, with the operator's sentence in both languages."""
    return {
        "allowed": made.allowed,
        "rule": made.rule,
        "reason": made.reason,
        "rules_version": made.rules_version,
        "matrix_version": made.matrix_version,
        "consent_version": made.consent_version,
        "en": rules_of.explain(rules, made, "operator", "en"),
        "fr": rules_of.explain(rules, made, "operator", "fr"),
    }


def _sentences(rules: rules_of.Rules, made: Decision) -> None:
    answer = "[green]allowed[/]" if made.allowed else "[bold red]refused[/]"
    output.say(
        f"{answer} by rule {made.rule} (rules {made.rules_version}, matrix {made.matrix_version}, "
        f"consent {made.consent_version})"
    )
    output.say(f"  {escape(rules_of.explain(rules, made, 'operator', 'en'))}")
    output.say(f"  {escape(rules_of.explain(rules, made, 'operator', 'fr'))}")
