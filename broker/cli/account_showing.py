"""How `carnet account` shows a space: as it stands, what will happen, and a history that explains itself."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any, Literal

import typer
from rich.markup import escape

from broker.accounts import days, machine
from broker.accounts.words import transition_words
from broker.cli import opened, output
from broker.database.engine import reading
from broker.records import account_holders, account_rows, account_waits, accounts, notices, patients
from broker.records.account_rows import Space, Step

STATE_WORDS = {
    machine.PRESUMED: ("open (nobody has said otherwise)", "ouvert (sans information contraire)"),
    machine.NOT_ELIGIBLE: ("not opened", "non ouvert"),
    machine.INFORMED: ("informed, the six weeks are running", "informé, délai de six semaines en cours"),
    machine.OPPOSED: ("opposed", "opposition"),
    machine.OPEN: ("open, not activated", "ouvert, non activé"),
    machine.ACTIVE: ("active", "actif"),
    machine.SUSPENDED: ("suspended", "suspendu"),
    machine.CLOSED: ("closed, archived", "fermé, archivé"),
    machine.DELETED: ("deleted", "supprimé"),
}  # fmt: skip
DUE_WORDS = {
    "T3": ("opens", "ouverture"),
    "T10": ("is closed unless somebody objects", "fermeture sauf objection"),
    "T12": ("the archive is deleted", "suppression de l'archive"),
    "T13": ("is deleted as asked", "suppression demandée"),
    "M5": ("18th birthday", "18 ans"),
}

_LATEST = ("at the latest on", "au plus tard le")

Language = Literal["en", "fr"]


def show(ledger: opened.Ledger, number: int, *, json: bool, language: Language = "en") -> None:
    """One space. Exit code 1 where there is no such patient."""
    now = datetime.now(UTC)
    with reading(ledger.engine) as connection:
        row = patients.load(connection, [number]).get(number)
        space = account_rows.load(connection, [number]).get(number)
        if row is None or space is None:
            output.aside().print("no such patient")
            raise typer.Exit(output.FOUND)
        steps = account_rows.history(connection, number)
        holders = account_holders.holders(connection, [number], now).get(number, {})
        waiting = account_waits.waiting(connection, number)
        told = notices.listing(connection, patient=number, limit=10)
    said = accounts.history(ledger.engine, number)
    outside = machine.outside(space.state, space.has_former)
    if json:
        output.tell(
            {
                "patient": number,
                "account": row.account,
                "state": space.state,
                "since": row.account_since,
                "outside": {"status": outside.status, "attached": outside.is_attached},
                "former": space.has_former,
                "due": dict(space.due),
                "delete_by": latest("T13", space.due["T13"]) if "T13" in space.due else None,
                "holders": sorted(holders),
                "waiting": waiting,
                "filing_opposed": row.filing_opposed,
                "consent_version": row.consent_version,
                "said": said,
                "history": [_step(step, language) for step in steps],
                "notices": [_notice(one) for one in told],
            }
        )
        return
    opposed = " · opposes filing" if row.filing_opposed else ""
    words = STATE_WORDS[space.state][language == "fr"]
    attached = "" if outside.is_attached or outside.status == "INEXISTANT" else ", not attached"
    output.say(
        f"patient {number}: space {words}{opposed} · {outside.status}{attached} · consent version {row.consent_version}"
    )
    _future(space, language)
    if holders:
        output.say(f"  reached from the spaces of patients {', '.join(map(str, sorted(holders)))}")
    if waiting:
        output.say(f"  {waiting} messages wait for what becomes of it")
    for step in steps:
        output.say(f"  {step.at:%Y-%m-%d %H:%M} {escape(sentence(step, language))}")
    for one in said:
        if one.kind != "account" or one.channel == "message":
            output.say(
                f"  {one.at:%Y-%m-%d %H:%M} {escape(one.kind)} {escape(one.scope)} {escape(one.value)} "
                f"by {escape(one.by)} ({escape(one.channel)})"
            )
    for notice in told:
        output.say(f"  notice {notice.kind}: {_fate(notice)}")


def latest(name: str, due_at: datetime) -> date | None:
    """The last day on which what is due must be done; only a deletion that was asked for has one (R.1111-36)."""
    return days.last_day_to_delete(due_at, days.PARIS) if name == "T13" else None


def sentence(step: Step, language: Language) -> str:
    """A transition in one sentence: what, from where to where, who, how, why, by which text."""
    what = transition_words(step.transition, language)
    by = "par" if language == "fr" else "by"
    moved = f" [{step.before} -> {step.after}]" if step.before != step.after else ""
    reason = f", {step.reason}" if step.reason else ""
    return (
        f"{step.transition} {what}{moved} {by} {step.actor} ({step.channel}{reason}; {step.rule})"
    )


def _step(step: Step, language: Language) -> dict[str, Any]:
    return {
        "n": step.n, "transition": step.transition, "from": step.before, "to": step.after, "actor": step.actor,
        "channel": step.channel, "reason": step.reason, "rule": step.rule, "at": step.at,
        "words": transition_words(step.transition, language),
    }  # fmt: skip


def _notice(one: notices.Row) -> dict[str, Any]:
    return {
        "id": one.id, "kind": one.kind, "state": one.state, "due_at": one.due_at, "channel": one.channel,
        "suppressed": one.suppressed, "lines": one.lines,
    }  # fmt: skip


def _fate(one: notices.Row) -> str:
    if one.state == "suppressed":
        return f"not sent ({one.suppressed})"
    if one.state == "sent":
        return f"sent by {one.channel}"
    return f"{one.state} {one.due_at:%Y-%m-%d %H:%M}"


def _future(space: Space, language: Language) -> None:
    for name, at in sorted(space.due.items(), key=lambda pair: pair[1]):
        day = days.day_of(at, days.PARIS)
        last = latest(name, at)
        by = "" if last is None else f", {_LATEST[language == 'fr']} {last}"
        output.say(f"  {day}: {DUE_WORDS[name][language == 'fr']}{by} ({name})")
