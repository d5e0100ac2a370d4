"""The report of a drill: what was done, promise by promise, so that it can be kept and the drill repeated. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from broker.drill.orders import ALL_PROCESSES, EVERYTHING
from broker.drill.run import Outcome
from broker.fault_points import POINTS


def title(outcome: Outcome) -> str:
    """The one line that says it."""
    kills = sum(outcome.kills.values())
    broken = [promise for promise in outcome.promises if not promise.holds]
    if not broken:
        return f"{kills} kills, {len(outcome.promises)} promises held"
    return f"{kills} kills, {len(broken)} of {len(outcome.promises)} promises BROKEN"


def again(outcome: Outcome) -> str:
    """The command that gives the same orders again. Addresses are left out: they may hold secrets."""
    plan = outcome.plan
    words = ["carnet drill", f"--seed {plan.seed}", f"--kills {plan.kills}"]
    if plan.is_postgresql:
        words.append("--set-up full --database … --queue …")
    words += [f"--points {name}" for name in plan.points]
    return " ".join(words)


def as_json(outcome: Outcome) -> dict[str, Any]:
    """The report for programs."""
    return {
        "good": outcome.is_good,
        "set_up": set_up(outcome),
        "seed": outcome.plan.seed,
        "kills": sum(outcome.kills.values()),
        "points": dict(outcome.kills),
        "promises": [
            {
                "name": one.name,
                "holds": one.holds,
                "says": one.says,
                "figures": one.figures,
                "breaks": one.breaks,
                "findings": list(one.findings),
            }
            for one in outcome.promises
        ],
        "figures": dict(outcome.figures),
        "began": outcome.began.isoformat(timespec="seconds"),
        "seconds": round(outcome.seconds, 1),
        "killing_seconds": round(outcome.killing_seconds, 1),
        "again": again(outcome),
    }


def as_markdown(outcome: Outcome, version: str) -> str:
    """The report for a person, one sentence a line."""
    return "\n".join(_lines(outcome, version)) + "\n"


def set_up(outcome: Outcome) -> str:
    return "full" if outcome.plan.is_postgresql else "embedded"


def _lines(outcome: Outcome, version: str) -> Iterator[str]:
    plan = outcome.plan
    stores = "PostgreSQL and RabbitMQ" if plan.is_postgresql else "SQLite and the embedded queue"
    yield f"# Drill: {title(outcome)}"
    yield ""
    yield f"Carnet {version}, {outcome.began:%Y-%m-%d %H:%M} UTC, {_span(outcome.seconds)}, of which killing {_span(outcome.killing_seconds)}."
    yield f"Set-up: {set_up(outcome)} ({stores}). Seed: {plan.seed}. All patients are invented."
    yield ""
    yield "## What was done"
    yield ""
    yield "A broker of its own ran in a folder of its own."
    yield (
        f"{plan.connections} connections sent updates and results of {plan.patients} patients, about {plan.rate:.0f} a "
        "second, each again until it was answered AA."
    )
    yield "Two partners received what is owed: one that may get a message twice, one that may not."
    yield (
        f"Meanwhile processes were ended by SIGKILL {sum(outcome.kills.values())} times, at the points below, and "
        "started again."
    )
    yield "Then everything was let finish, the broker was asked to end, and what it left was read row by row."
    yield ""
    yield "## The promises"
    yield ""
    yield "| | promise | figures |"
    yield "|---|---|---|"
    for one in outcome.promises:
        mark = "held" if one.holds else f"**broken {one.breaks} times**"
        yield f"| {mark} | {one.says} | {one.figures} |"
    yield from _broken(outcome)
    yield ""
    yield "## The kills"
    yield ""
    yield "| point | process | what is true there | kills |"
    yield "|---|---|---|---:|"
    for name, kills in outcome.kills.items():
        point = EVERYTHING if name == ALL_PROCESSES else POINTS[name]
        who = "all" if name == ALL_PROCESSES else ", ".join(point.roles)
        yield f"| `{name}` | {who} | {point.says} | {kills} |"
    yield from _figures(outcome.figures)
    yield ""
    yield "## Again"
    yield ""
    yield "The same seed gives the same orders to the same processes; the machine decides what they meet."
    yield ""
    yield f"    {again(outcome)}"


def _broken(outcome: Outcome) -> Iterator[str]:
    for one in outcome.promises:
        if not one.holds:
            yield ""
            yield f"### Broken: {one.name}"
            yield ""
            yield from (f"- {finding}" for finding in one.findings)
            if one.breaks > len(one.findings):
                yield f"- and {one.breaks - len(one.findings)} more"


def _figures(figures: Mapping[str, int]) -> Iterator[str]:
    yield ""
    yield "## The traffic"
    yield ""
    yield "| | |"
    yield "|---|---:|"
    for name, n in figures.items():
        yield f"| {name} | {n} |"


def _span(seconds: float) -> str:
    minutes, rest = divmod(round(timedelta(seconds=seconds).total_seconds()), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
