"""`carnet patient merge`, `unmerge`, `unmove`, `link`, `unlink`, `candidates`, `journal`: identities, decided by a person.

Patients are named by internal number, never by an identifier, so that nothing of a person stands in a shell's
history. Every act shows what it would do first.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.markup import escape

from broker import identity_acts
from broker.acts import Act
from broker.cli import opened, output, people, setup
from broker.database.engine import reading
from broker.errors import SetupError
from broker.events import REASONS
from broker.identity_acts import Effect
from broker.records import identity_candidates, identity_circle, identity_journal

Because = Annotated[
    str,
    typer.Option(
        "--because",
        help="Why, in your words, for journal and trail. Name no patient.",
        show_default=False,
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what it would do.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
Number = Annotated[int, typer.Argument(metavar="NUMBER", help="The patient's internal number.")]
Into = Annotated[
    int, typer.Option("--into", metavar="NUMBER", help="The survivor.", show_default=False)
]
With = Annotated[
    int, typer.Option("--with", metavar="NUMBER", help="The other patient.", show_default=False)
]
Take = Callable[[opened.Ledger, Act, bool], Effect]


def register(group: typer.Typer) -> None:
    """Add the commands to `carnet patient`."""
    for command in (merge, unmerge, unmove, link, unlink, candidates, different, journal):
        group.command()(command)


def merge(
    patient: Number,
    into: Into,
    config: setup.Config = None,
    because: Because = "",
    by: people.By = "operator",
    dry_run: DryRun = False,
    yes: Yes = False,
    json: setup.AsJson = False,
) -> None:
    """Make two patients one record. Nothing is moved: `unmerge` takes it back without a trace in either.

        carnet patient merge 354042744143873 --into 354042744143874 --dry-run
        carnet patient merge 354042744143873 --into 354042744143874 --because "same person, ticket 4711"

    Two with different INS are not merged: correct the wrong INS first.

    JSON: {"act", "done", "problem", "absorbed": […], "survivors": […], "after": [{"record", "account",
    "filing_opposed"}], "since", "looks": […], "given_back": […], "documents": […]}.

    Exit codes: 0 done (or would be), 1 not done, with the reason, 2 usage or set-up.
    """

    def take(ledger: opened.Ledger, act: Act, dry: bool) -> Effect:
        return identity_acts.merge(ledger.engine, patient, into, act, dry_run=dry)

    _run(take, config, because, by, dry_run, yes, json)


def unmerge(
    patient: Number,
    config: setup.Config = None,
    because: Because = "",
    by: people.By = "operator",
    dry_run: DryRun = False,
    yes: Yes = False,
    json: setup.AsJson = False,
) -> None:
    """Take back a merge. Name the absorbed patient; both records are as if it had never been.

        carnet patient unmerge 354042744143873 --dry-run
        carnet patient unmerge 354042744143873 --because "two people, ticket 4712"

    Lists who saw the two as one meanwhile: they may have read, or acted on, what was somebody else's.

    JSON: as of `merge`; a look is {"viewer", "name", "kind", "profession", "first", "last", "listed", "read": [[document,
    patient]]}.

    Exit codes: 0 done (or would be), 1 not done, with the reason, 2 usage or set-up.
    """

    def take(ledger: opened.Ledger, act: Act, dry: bool) -> Effect:
        return identity_acts.unmerge(ledger.engine, patient, act, dry_run=dry)

    _run(take, config, because, by, dry_run, yes, json)


def unmove(
    event: Annotated[
        int, typer.Argument(metavar="EVENT", help="The number of the move in the journal.")
    ],
    config: setup.Config = None,
    because: Because = "",
    by: people.By = "operator",
    dry_run: DryRun = False,
    yes: Yes = False,
    json: setup.AsJson = False,
) -> None:
    """Take back a move of an identifier, an account or a visit (A43, A44, A45).

        carnet patient journal 354042744143873
        carnet patient unmove 12 --dry-run
        carnet patient unmove 12 --because "the visit was theirs, ticket 4713"

    What was moved goes back to whom it was taken from; what was filed for either since stays where it is. Lists who
    looked at the record it was in meanwhile. A message that says the same move again is held.

    JSON: as of `unmerge`, with "documents": the documents that go back.

    Exit codes: 0 done (or would be), 1 not done, with the reason, 2 usage or set-up.
    """

    def take(ledger: opened.Ledger, act: Act, dry: bool) -> Effect:
        return identity_acts.unmove(ledger.engine, event, act, dry_run=dry)

    _run(take, config, because, by, dry_run, yes, json)


def link(
    patient: Number,
    other: With,
    config: setup.Config = None,
    because: Because = "",
    by: people.By = "operator",
    dry_run: DryRun = False,
    yes: Yes = False,
    json: setup.AsJson = False,
) -> None:
    """Show two patients together, and go on filing them separately.

        carnet patient link 354042744143873 --with 354042744143874 --because "ticket 4711"

    Exit codes: 0 done (or would be), 1 not done, with the reason, 2 usage or set-up.
    """

    def take(ledger: opened.Ledger, act: Act, dry: bool) -> Effect:
        return identity_acts.link(ledger.engine, patient, other, act, dry_run=dry)

    _run(take, config, because, by, dry_run, yes, json)


def unlink(
    patient: Number,
    other: With,
    config: setup.Config = None,
    because: Because = "",
    by: people.By = "operator",
    dry_run: DryRun = False,
    yes: Yes = False,
    json: setup.AsJson = False,
) -> None:
    """No longer show two patients together.

        carnet patient unlink 354042744143873 --with 354042744143874 --because "ticket 4711"

    Exit codes: 0 done (or would be), 1 not done, with the reason, 2 usage or set-up.
    """

    def take(ledger: opened.Ledger, act: Act, dry: bool) -> Effect:
        return identity_acts.link(ledger.engine, patient, other, act, take_back=True, dry_run=dry)

    _run(take, config, because, by, dry_run, yes, json)


def candidates(
    config: setup.Config = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many at most.")] = 50,
    json: setup.AsJson = False,
) -> None:
    """List pairs of patients that might be one: the same strict traits under other numbers. None is merged by itself.

        carnet patient candidates
        carnet patient merge 354042744143873 --into 354042744143874 --because "…"
        carnet patient different 354042744143873 --with 354042744143874 --because "…"

    `homonym`: each has an INS of its own, so they are two people with the same traits.

    JSON, one line a pair: {"one", "other", "why", "found_at"}.

    Exit codes: 0 none open, 1 some are, 2 usage or set-up.
    """
    ledger = opened.open_ledger(config)
    with reading(ledger.engine) as connection:
        found = identity_candidates.listing(connection, limit=limit)
    for one in found if json else ():
        output.tell({"one": one.one, "other": one.other, "why": one.why, "found_at": one.found_at})
    if not json:
        rows = [(one.one, one.other, one.why, f"{one.found_at:%Y-%m-%d %H:%M}") for one in found]
        output.table("", ("one", "other", "why", "found"), rows)
    raise typer.Exit(output.FOUND if found else output.GOOD)


def different(
    patient: Number,
    other: With,
    config: setup.Config = None,
    because: Because = "",
    by: people.By = "operator",
    json: setup.AsJson = False,
) -> None:
    """Say of a pair of candidates that they are two people. They are not listed again.

        carnet patient different 354042744143873 --with 354042744143874 --because "born in two places"

    Exit codes: 0 noted, 1 the pair is not on the list, 2 usage or set-up.
    """
    act = _act(because, by)
    ledger = opened.open_ledger(config)
    is_noted = identity_acts.different(ledger.engine, patient, other, act)
    if json:
        output.tell({"one": patient, "other": other, "done": is_noted})
    else:
        output.say("noted" if is_noted else "the pair is not on the list")
    raise typer.Exit(output.GOOD if is_noted else output.FOUND)


def journal(
    patient: Number,
    config: setup.Config = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many at most.")] = 50,
    before: Annotated[
        int | None, typer.Option(help="Go on from here (the `n` of the last line).")
    ] = None,
    json: setup.AsJson = False,
) -> None:
    """List what became of a patient's identity, newest first: merges, moves, links, changed numbers, by whom and why.

        carnet patient journal 354042744143873

    Of a changed or removed INS it says how many documents were filed under it. Numbers themselves are not shown.

    JSON, one line an event: {"n", "at", "kind", "patient", "other", "by", "because", "message", "reverts", "looks",
    "documents"}; of a move a document stands with the patient it was filed under, [document, patient].

    Exit codes: 0 shown (it may be empty), 2 usage or set-up.
    """
    ledger = opened.open_ledger(config)
    with reading(ledger.engine) as connection:
        persons = identity_circle.around(connection, [patient]).members(patient)
        events = identity_journal.history(connection, persons, limit=limit, before=before)
    for one in events:
        looks, documents = one.details.get("looks"), one.details.get("documents")
        if json:
            output.tell(
                {
                    "n": one.n, "at": one.at, "kind": one.kind, "patient": one.patient, "other": one.other,
                    "by": one.by, "because": one.because, "message": one.message_seq, "reverts": one.reverts,
                    "looks": looks, "documents": documents,
                }
            )  # fmt: skip
            continue
        to = f" → {one.other}" if one.other is not None else ""
        why = f": {escape(one.because)}" if one.because else ""
        more = f" · {looks} saw the wrong record" if looks else ""
        if documents:
            is_move = one.kind in ("move", "unmove")
            what = "went with it" if is_move else "were filed under it"
            more += f" · {len(documents)} documents {what}"
        output.say(
            f"{one.n} {one.at:%Y-%m-%d %H:%M} {one.kind} {one.patient}{to} by {escape(one.by)}{why}{more}"
        )


def _act(because: str, by: str) -> Act:
    if not because.strip():
        raise SetupError(
            "usage.reason", where="--because", reason="needs a reason", hint='add --because "…"'
        )
    return Act(by, because.strip(), datetime.now(UTC))


def _run(
    take: Take,
    config: setup.Config,
    because: str,
    by: str,
    dry_run: bool,
    yes: bool,
    json: bool,
) -> None:
    """Show what an act would do, ask, do it, and tell what it did."""
    act = Act(by, because.strip(), datetime.now(UTC)) if dry_run else _act(because, by)
    ledger = opened.open_ledger(config)
    would = take(ledger, act, True)
    if dry_run or would.problem:
        _tell(would, done=False, json=json)
        raise typer.Exit(output.FOUND if would.problem else output.GOOD)
    if not yes:
        if not sys.stdin.isatty():
            raise SetupError(
                "usage.confirm", where="--yes", reason="nothing was done", hint="add --yes"
            )
        _tell(would, done=False, json=False)
        if not typer.confirm("go on?", default=False, err=True):
            raise typer.Exit(output.FOUND)
    did = take(ledger, _act(because, by), False)
    _tell(did, done=not did.problem, json=json)
    raise typer.Exit(output.FOUND if did.problem else output.GOOD)


def _tell(effect: Effect, *, done: bool, json: bool) -> None:
    if json:
        output.tell(_line(effect, done))
        return
    if effect.problem:
        words = REASONS.get(effect.problem)
        output.aside().print(words.en if words else effect.problem, markup=False)
        if words and words.help:
            output.aside().print(words.help, markup=False)
        return
    sides = " and ".join(
        ", ".join(map(str, side)) for side in (effect.absorbed, effect.survivors) if side
    )
    output.say(f"{'did' if done else 'would do'} {effect.act}: {sides}")
    for row in effect.after:
        opposed = " · opposes filing" if row.filing_opposed else ""
        output.say(f"  record {row.id}: space {row.account}{opposed}")
    for crossing in effect.given_back:
        output.say(
            f"  document {crossing.document} of {crossing.owner} is {crossing.was} again, "
            f"which a message of {crossing.by} had {crossing.became}"
        )
    if effect.documents:
        output.say(f"  {len(effect.documents)} documents go back")
    if effect.since is not None:
        saw = "looked at what was moved" if effect.act == "unmove" else "saw the two as one"
        output.say(f"  {len(effect.looks)} {saw} since {effect.since:%Y-%m-%d %H:%M}")
    rows = [
        (
            f"{look.first:%Y-%m-%d %H:%M}", look.viewer.kind, look.viewer.name or look.viewer.id,
            look.viewer.profession, look.listed, len(look.read),
        )
        for look in effect.looks
    ]  # fmt: skip
    if rows:
        output.table("", ("from", "kind", "who", "profession", "#listed", "#read"), rows)


def _line(effect: Effect, done: bool) -> dict[str, Any]:
    return {
        "act": effect.act,
        "done": done,
        "problem": effect.problem or None,
        "absorbed": effect.absorbed,
        "survivors": effect.survivors,
        "after": [
            {"record": row.id, "account": row.account, "filing_opposed": row.filing_opposed}
            for row in effect.after
        ],
        "since": effect.since,
        "looks": [
            {
                "viewer": look.viewer.id, "name": look.viewer.name, "kind": look.viewer.kind,
                "profession": look.viewer.profession, "first": look.first, "last": look.last,
                "listed": look.listed, "read": look.read,
            }
            for look in effect.looks
        ],
        "given_back": [one.document for one in effect.given_back],
        "documents": effect.documents,
    }  # fmt: skip
