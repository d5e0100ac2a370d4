"""The acts on encryption at rest: begin with it, rotate the master key, seal what is older. For `carnet encryption`.

Each may be stopped and taken up again: what is done is committed a batch at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from sqlalchemy import Connection, Engine

from broker import at_rest, installation
from broker.acts import Act
from broker.audit import trail
from broker.database.engine import reading, writing
from broker.encryption import key_rows, keyring
from broker.encryption.sealed import KeyNumber
from broker.encryption.vault import begin_finding, vault_of
from broker.errors import SetupError
from broker.records import sealing_older
from broker.settings import Settings

_REWRAPPED_AT_ONCE = 500
_FIRST = KeyNumber(0, 0, 0)

Progress = Callable[[str, int], None]
"""Told what is being done, and how many rows more were passed."""


@dataclass(frozen=True, slots=True)
class Rotated:
    """What a rotation left: the master key that wraps, how many data keys were wrapped again, what was retired."""

    master: str
    keys: int
    retired: tuple[str, ...]


def begin(engine: Engine, settings: Settings, act: Act) -> tuple[str, bool]:
    """Encrypt from now on; returns the master key's id, and whether this changed anything. Raises: SetupError."""
    with reading(engine) as connection:
        if master := key_rows.current_master(connection):
            return master, False
    path = installation.keyring_file(settings)
    if path is not None:
        keyring.make(path)
    ring = installation.master_keys(settings)
    if ring is None:
        raise SetupError("encryption.keyring", where=at_rest.place(settings))
    with writing(engine) as connection:
        at_rest.lock(connection)
        has_begun = key_rows.register(connection, ring.newest, act.at, at_rest.FLOOR)
        begin_finding(connection, ring, ring.newest, act.at)
        trail.write(
            connection, [act.entry("encryption_key", f"key:{ring.newest}", "begun")], act.at
        )
    return ring.newest, has_begun


def add_key(settings: Settings) -> str:
    """A new key in the keyring's file; returns its id. Raises: SetupError where the keys are not in a file."""
    path = installation.keyring_file(settings)
    if path is None:
        raise SetupError(
            "encryption.keyring",
            where="encryption.master_keys",
            reason="the keys are given by reference, so this command cannot add one",
            hint="add a line of `carnet encryption key` to the secret, then rotate with --rewrap-only",
        )
    return keyring.add(path)


def rotate(engine: Engine, settings: Settings, act: Act, progress: Progress) -> Rotated:
    """Let the newest key of the keyring wrap, and wrap every data key again; payloads stay as they are.

    Raises: SetupError where nothing is encrypted yet, or a key is missing.
    """
    ring = installation.master_keys(settings)
    with reading(engine) as connection:
        needed = key_rows.needed(connection)
    if ring is None or not needed:
        raise SetupError(
            "encryption.keyring",
            where=at_rest.place(settings),
            reason="nothing is encrypted yet",
            hint="carnet encryption init",
        )
    at_rest.expect(settings, needed)
    master = ring.newest
    with writing(engine) as connection:
        at_rest.lock(connection)
        if key_rows.register(connection, master, act.at, at_rest.FLOOR):
            entry = act.entry("encryption_key", f"key:{master}", "rotated")
            trail.write(connection, [entry], act.at)
    count, after = 0, _FIRST
    while True:
        with writing(engine) as connection:
            found = key_rows.page(connection, after, master, _REWRAPPED_AT_ONCE)
            if not found:
                break
            key_rows.rewrap(connection, [_wrapped_again(ring, master, one) for one in found])
        after = found[-1].number
        count += len(found)
        progress("keys", len(found))
    with writing(engine) as connection:
        retired = key_rows.retire(connection, act.at)
        entries = [act.entry("encryption_key", f"key:{one}", "retired") for one in retired]
        trail.write(connection, entries, act.at)
    return Rotated(master, count, tuple(retired))


def _wrapped_again(ring: keyring.Keyring, master: str, one: key_rows.Wrapped) -> key_rows.Wrapped:
    """A data key under another master key."""
    secret = ring.unwrap(one.master, one.number, one.secret or b"")
    return one._replace(master=master, secret=ring.wrap(master, one.number, secret))


def seal(
    engine: Engine, act: Act, progress: Progress, is_stopped: Callable[[], bool] = lambda: False
) -> dict[str, int]:
    """Seal what was written before; returns how many rows of each table were passed. It may run beside everything.

    Raises: SetupError where nothing is encrypted yet.
    """
    _seek_sealed(engine, act.at)
    steps: dict[str, Callable[[Connection], int]] = {
        "document_payload": sealing_older.documents,
        "content": sealing_older.moved,
        **{table: partial(_walked, table, act.at) for table in sealing_older.WALKED},
        "attempt": sealing_older.answers,
        "account": lambda connection: sealing_older.mails(connection, act.at),
        "patient_identifier": sealing_older.identifiers,
        "identity_event": sealing_older.journal,
        "delivery": sealing_older.deliveries,
    }
    passed = dict.fromkeys(steps, 0)
    for table, step in steps.items():
        while not is_stopped():
            with writing(engine) as connection:
                some = step(connection)
            if not some:
                break
            passed[table] += some
            progress(table, some)
    with writing(engine) as connection:
        outcome = "stopped" if is_stopped() else "done"
        trail.write(connection, [act.entry("content_sealed", "content", outcome, **passed)], act.at)
    return passed


def _seek_sealed(engine: Engine, now: datetime) -> None:
    """Have the key of what rows are found by, which an installation has not that began before there was one."""
    with writing(engine) as connection:
        at_rest.lock(connection)
        master, vault = key_rows.current_master(connection), vault_of(connection)
        if master is None or vault is None:
            raise SetupError(
                "encryption.keyring",
                where="encryption",
                reason="nothing is encrypted yet",
                hint="carnet encryption init",
            )
        begin_finding(connection, vault.ring(master), master, now)
    with reading(engine) as connection:
        vault.seek(connection)


def _walked(table: str, now: datetime, connection: Connection) -> int:
    return sealing_older.walked(connection, table, now)
