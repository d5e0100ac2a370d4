"""A trail with all kinds of entries, sealed and signed, for tests of exports and of keys."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Engine

from broker.access import Viewer, snapshot
from broker.audit import seal, trail
from broker.audit.keys import KeyFolder
from broker.audit.trail import Entry
from broker.database.engine import writing

NOW = datetime(2026, 11, 10, 9, 0, tzinfo=UTC)
PER_SEGMENT, SEGMENTS = 4, 3

PHYSICIAN = Viewer(
    kind="professional", id="899900000011", name='Anne "É" <Martin>', profession="G15_10/SM26",
    mode="bris_de_glace", motive="unconscious\x0b & alone",
)  # fmt: skip


def entries(start: int, count: int) -> list[Entry]:
    """What people and machines do: read, refuse, file, deliver."""
    acts = ("document_read", "refused", "filed", "delivery_sent", "received", "held")
    made = []
    for n in range(start, start + count):
        act = acts[n % len(acts)]
        is_person = n % len(acts) < 2
        made.append(
            Entry(
                act=act,
                at=NOW + timedelta(microseconds=n),
                actor_kind="professional" if is_person else "machine",
                actor=PHYSICIAN.id if is_person else "ward",
                actor_snapshot=snapshot(PHYSICIAN) if is_person else None,
                mode=PHYSICIAN.mode if is_person else None,
                motive=PHYSICIAN.motive if is_person else None,
                patient=1000 + n if n % 2 == 0 else None,
                subject=f"document:{n}",
                outcome="access.absent" if act == "refused" else None,
                control_id=f"M{n}",
                details='{"type":"carnet:entry","valueBase64Binary":"AAAA"}',
            )
        )
    return made


def fill(engine: Engine, keys: KeyFolder | None, segments: int = SEGMENTS, start: int = 0) -> None:
    """Seal segments of four entries, a day apart, each signed by the key that is in use."""
    for number in range(start, start + segments):
        now = NOW + timedelta(days=number)
        with writing(engine) as connection:
            trail.write(connection, entries(number * PER_SEGMENT, PER_SEGMENT), NOW)
        seal.seal(engine, now, signer=keys.signer(now) if keys else None)


def folder(tmp_path: Path) -> KeyFolder:
    """A key folder of a test's own."""
    return KeyFolder(tmp_path / "audit-keys")
