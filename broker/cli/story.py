"""`carnet demo --story`: one person's space from the letter to the reopening, told step by step, each step verified.

Everything is the product's own: messages by MLLP and HTTP, the six weeks by the scheduler, reading through the
record's API with tokens that it checks, notices as mails. Days pass by a clock that is moved; it ends at today.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.text import Text

from broker import reconcile
from broker.audit import verify
from broker.cli import demo_site, story_chapters, story_telling
from broker.cli.audit import said
from broker.cli.story_cast import Cast
from broker.cli.story_issuer import Issuers
from broker.cli.story_site import Clock, Site, prepare
from broker.cli.story_telling import Told
from broker.database.engine import reading as reading_of
from broker.records import messages_reading
from broker.rules import decide

BEHIND = timedelta(days=50)
"""How long ago the story begins: six weeks of silence, and a week of what follows."""

Chapter = Callable[[Cast], None]

_CHAPTERS: tuple[tuple[str, Chapter], ...] = (
    ("six weeks of silence", story_chapters.waiting),
    ("the space opens", story_chapters.opening),
    ("reports are filed", story_chapters.reports),
    ("a physician reads", story_chapters.physician),
    ("a podiatrist reads", story_chapters.podiatrist),
    ("an emergency", story_chapters.emergency),
    ("a block", story_chapters.block),
    ("the space is closed", story_chapters.closing),
    ("the space is opened again", story_chapters.reopening),
)


def run(folder: Path, *, check: bool, as_json: bool = False, database: str = "") -> bool:
    """Tell the story in a folder; says whether everything was as promised. Raises: SetupError."""
    begun = time.monotonic()
    issuers = Issuers()
    try:
        site = Site(prepare(folder, issuers, database), Clock(BEHIND))
        with demo_site.log_to(folder / "carnet.log") as real:
            try:
                told = _tell(site, issuers, folder, Console(file=real, highlight=False))
                seconds = round(time.monotonic() - begun, 1)
                if not as_json:
                    story_telling.show(told)
                story_telling.verdict(told, seconds, check=check, as_json=as_json)
                if not check:
                    _stay(real, site)
            finally:
                site.end()
    finally:
        issuers.close()
    return not told.faults


def _tell(site: Site, issuers: Issuers, folder: Path, screen: Console) -> Told:
    told = Told(folder)
    with screen.status("starting the broker") as shown, closing(site.start()) as ledger:
        rules = decide.load(site.settings.rules.folder, site.settings.rules.switched)
        cast = Cast(site, issuers, ledger, rules, told, site.clock())
        shown.update("a letter goes out")
        story_chapters.letter(cast, folder)
        if not cast.patient:
            told.faults.append("the person was not registered")
            return told
        for name, chapter in _CHAPTERS:
            if site.failure:
                break
            shown.update(name)
            chapter(cast)
        shown.update("everything is proved")
        if not site.failure:
            _prove(cast)
    if site.failure:
        told.faults.append(f"a role ended: {site.failure}")
    return told


def _prove(cast: Cast) -> None:
    """Today again: every day reconciled, the trail verified once the scheduler has sealed it."""
    site, ledger, told = cast.site, cast.ledger, cast.told
    site.pass_to(cast.begun + 2 * BEHIND)
    now = site.clock()
    one = told.chapter("Today: proved, not only told", now)
    ledger.catch_up()
    with reading_of(ledger.engine) as connection:
        days = messages_reading.days(connection)
    for day in days:
        result = reconcile.reconcile(ledger.engine, day, zone=ledger.settings.site.zone, now=now)
        told.faults += [f"reconcile {day}: {finding.text}" for finding in result.findings]
    one.say(f"{len(days)} days are reconciled: received = what became of it, and every access")
    one.say("stands once in the trail, once in the patient's view and once in a notice.")
    sealed = site.until(lambda: bool(verify.verify(ledger.engine).segments))
    verified = verify.verify(ledger.engine)
    told.expect(sealed and verified.is_good, "the audit trail does not verify")
    one.say(f"The audit trail {Text.from_markup(said(verified)).plain}")
    one.look("reconcile")
    one.look("audit verify")


def _stay(real: TextIO, site: Site) -> None:
    """Stay up until Ctrl-C, or until a role ends by itself."""
    try:
        real.write("The broker stays up. Ctrl-C drains and ends.\n")
        real.flush()
        while not site.failure and not site.stop.wait(0.5):
            pass
    except KeyboardInterrupt:
        real.write("draining\n")
