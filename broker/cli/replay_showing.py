"""How `carnet messages replay` says what a run did, or would do."""

from __future__ import annotations

from collections.abc import Mapping

from broker.cli import output
from broker.replay import Replayed
from broker.shadow import Group, Key, Report

LEFT: Mapping[str, str] = {
    "parked": "parked: `carnet parked release` reads them again",
    "unsettled": "not settled: they are read with the active set when their turn comes (`carnet lanes list`)",
    "discarded": "discarded by an operator",
    "is_replay": "replays themselves: name their originals (`carnet messages timeline ID`)",
    "missing": "not there",
    "bytes_gone": "without their bytes",
}
"""Why messages are left, in words."""

OUTCOMES: Mapping[str, str] = {
    "unchanged": "read as before",
    "new_version": "would get a new version",
    "filed": "would be filed for the first time",
    "replay.superseded": "stay: later content stands there",
}


def done(found: Replayed, *, json: bool) -> None:
    """What a run did."""
    if json:
        output.tell(
            {
                "run": found.run,
                "replayed": found.taken,
                "left": dict(found.left),
                "left_ids": found.left_ids,
                "is_over": found.is_over,
            }
        )
        return
    output.say(f"run {found.run}: {found.taken:,} messages received again")
    for why, n in found.left.most_common():
        names = ", ".join(found.left_ids.get(why, ()))
        more = " …" if n > len(found.left_ids.get(why, ())) else ""
        output.say(f"left {n:,}, {LEFT.get(why, why)}: {names}{more}")
    if not found.is_over:
        output.aside().print("stopped; the same command goes on where it stopped")


def report(found: Report, set_hash: str, *, delivers: bool, json: bool) -> None:
    """What a run would do: changes, decisions and routes, the most frequent first, then the sums."""
    if json:
        _plain(found, set_hash, delivers)
        return
    _table("", ("change", "path", "#messages", "#times", "for example"), found.changes, times=True)
    _table("decisions", ("then", "now", "#messages", "for example"), found.decisions)
    _table("routes", ("what", "destination", "route", "#messages", "for example"), found.routes)
    output.say(f"{found.compared:,} messages compared · set {set_hash[:12]}")
    for name, n in found.outcomes.most_common():
        words = OUTCOMES.get(name) or output.because(name)
        output.say(f"{n:,} {words}")
    if found.no_longer_made:
        output.say(
            f"{found.no_longer_made:,} documents are not made any more, and stay as they are"
        )
    if found.incomparable:
        output.say(
            f"{found.incomparable:,} filed nothing, and the set they were read with is not kept"
        )
    owed = ", ".join(f"{name} {n:,}" for name, n in sorted(found.owed.items()))
    if delivers:
        output.say(f"deliveries: {owed or 'none'}")
    elif owed:
        output.say(f"deliveries: none; with --deliver {owed}")
    for why, n in (+found.left).most_common():
        readable = found.left_readable[why]
        more = f"; {readable:,} of them could be read now" if readable else ""
        output.say(f"left {n:,}, {LEFT.get(why, why)}{more}")


def _table(
    title: str, columns: tuple[str, ...], groups: Mapping[Key, Group], *, times: bool = False
) -> None:
    rows = [
        (*key, group.messages, *((group.times,) if times else ()), " ".join(group.samples[:1]))
        for key, group in _ordered(groups)
    ]
    if rows:
        output.table(title, columns, rows)


def _ordered(groups: Mapping[Key, Group]) -> list[tuple[Key, Group]]:
    return sorted(groups.items(), key=lambda item: (-item[1].messages, item[0]))


def _plain(found: Report, set_hash: str, delivers: bool) -> None:
    named = (
        ("change", ("change", "path"), found.changes),
        ("decision", ("then", "now"), found.decisions),
        ("route", ("change", "destination", "route"), found.routes),
    )
    for kind, names, groups in named:
        for key, group in _ordered(groups):
            shown = dict(zip(names, key, strict=True)) | {"messages": group.messages}
            if kind == "change":
                shown |= {"times": group.times}
            output.tell({"kind": kind, **shown, "samples": group.samples})
    output.tell(
        {
            "kind": "summary",
            "compared": found.compared,
            "outcomes": dict(found.outcomes),
            "left": dict(+found.left),
            "left_readable": dict(found.left_readable),
            "no_longer_made": found.no_longer_made,
            "incomparable": found.incomparable,
            "owed": dict(found.owed) if delivers else {},
            "would_owe": dict(found.owed),
            "set": set_hash,
        }
    )
