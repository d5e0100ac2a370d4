"""Opens data keys with the site's master keys, makes them for new patients and months, and keeps the open ones at hand.

Whether a patient's key is still there is asked of the database each time, in one statement a batch; only the work of
unwrapping is spared. So no process goes on reading, or sealing, with a key that was destroyed. Keys of months are
never destroyed, and are kept at hand.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from threading import Lock

from sqlalchemy import Connection, Engine

from broker.database.engine import attach, attached
from broker.encryption import key_rows
from broker.encryption.key_rows import Wrapped
from broker.encryption.keyring import Keyring
from broker.encryption.sealed import (
    FIND,
    FIND_OWNER,
    KEY_BYTES,
    MONTH,
    PATIENT,
    DataKey,
    FindKey,
    KeyNumber,
)
from broker.errors import PermanentError, SetupError, TransientError

_KEPT = 20_000
"""Open keys of patients kept at hand: some 10 MB."""

FIND_FLOOR = "0017"
"""The oldest revision whose code finds what is sealed."""

_NAME = "vault"


class Vault:
    """The keys of one installation. One per engine; threads may share it.

    `load` reads the keyring (None: there is none); it is read again where a key is missing: a rotation may have added
    it. Without `seals`, content is written as it is; what is sealed is read all the same.
    """

    def __init__(self, load: Callable[[], Keyring | None], *, seals: bool) -> None:
        self.seals = seals
        self._load = load
        self._ring: Keyring | None = None
        self._sharing = Lock()
        self._open: OrderedDict[bytes, DataKey] = OrderedDict()
        self._months: dict[KeyNumber, DataKey] = {}
        self._of_month: dict[int, DataKey] = {}
        self.find_key: FindKey | None = None
        """The key of what rows are found by, once it was asked for (`seek`) and there."""

    def ring(self, master: str) -> Keyring:
        """The keyring, which has this master key. Raises: TransientError("encryption.key_missing")."""
        if self._ring is None or master not in self._ring.keys:
            # A keyring that is being written or copied is not there yet: who waits for it tries again.
            with suppress(SetupError):
                self._ring = self._load()
        if self._ring is None or master not in self._ring.keys:
            raise TransientError(
                "encryption.key_missing",
                where="encryption.keyring",
                reason=f"the keyring has no master key {master}",
                hint="restore the keyring from its copy; on several machines all need the same",
            )
        return self._ring

    def of_patients(self, connection: Connection, patients: Collection[int]) -> dict[int, DataKey]:
        """The key of each patient, to seal with; those that have none get one."""
        return self._usable(connection, PATIENT, patients)

    def of_month(self, connection: Connection, month: int) -> DataKey:
        """The key of a month, to seal with; made where it is not there."""
        known = self._of_month.get(month)
        return known or self._usable(connection, MONTH, [month])[month]

    def keep_month(self, month: int, key: DataKey) -> None:
        """Keep a month's key at hand, once the transaction that made it is committed."""
        self._of_month[month] = self._months[key.number] = key

    def seek(self, connection: Connection) -> FindKey | None:
        """The key of what rows are found by; None where there is none yet, which is asked of the database each time.

        Raises: TransientError("encryption.key_missing"); PermanentError("encryption.altered"), also where it is lost:
        nobody must be taken for unknown then.
        """
        # The note first: it is committed with the key, so who sees it sees the key.
        if self.find_key is not None or not key_rows.finds(connection):
            return self.find_key
        for one in key_rows.of_owners(connection, FIND, [FIND_OWNER])[0]:
            if one.secret is not None:
                secret = self.ring(one.master).unwrap(one.master, one.number, one.secret)
                self.find_key = FindKey(secret)
                return self.find_key
        raise PermanentError(
            "encryption.altered",
            where="data_key",
            reason="the key that patients are found by is not there",
            hint="restore the row of kind 3 of the table data_key from a newer backup",
        )

    def to_open(
        self, connection: Connection, numbers: Iterable[KeyNumber]
    ) -> Mapping[KeyNumber, DataKey | None]:
        """The keys of these numbers, to open with; None for one that was destroyed. At most one statement a kind.

        A number that is not in the answer never was a key. Raises: TransientError("encryption.key_missing").
        """
        wanted = set(numbers)
        found: dict[KeyNumber, DataKey | None] = {
            number: self._months[number] for number in wanted if number in self._months
        }
        for kind in (PATIENT, MONTH):
            owners = {n.owner for n in wanted if n.kind == kind and n not in found}
            if not owners:
                continue
            for one in key_rows.of_owners(connection, kind, owners)[0]:
                if one.number in wanted:
                    found[one.number] = self.opened(one)
                    if kind == MONTH and (key := found[one.number]) is not None:
                        self._months[one.number] = key
        return found

    def opened(self, one: Wrapped) -> DataKey | None:
        """A data key, unwrapped now or before; None where it was destroyed.

        Raises: TransientError("encryption.key_missing"), PermanentError("encryption.altered").
        """
        if one.secret is None:
            return None
        with self._sharing:
            key = self._open.get(one.secret)
            if key is not None and key.number == one.number:
                self._open.move_to_end(one.secret)
                return key
        key = DataKey(one.number, self.ring(one.master).unwrap(one.master, one.number, one.secret))
        self._keep(one.secret, key)
        return key

    def _keep(self, wrapped: bytes, key: DataKey) -> None:
        with self._sharing:
            self._open[wrapped] = key
            while len(self._open) > _KEPT:
                self._open.popitem(last=False)

    def _usable(
        self, connection: Connection, kind: int, owners: Collection[int]
    ) -> dict[int, DataKey]:
        """The last key of each owner; a new one for those that have none, or whose was destroyed."""
        rows, master = key_rows.of_owners(connection, kind, owners)
        found = {one.number.owner: key for one in rows if (key := self.opened(one)) is not None}
        if len(found) == len(owners):
            return found
        before = {one.number.owner: one.number.generation for one in rows}
        made = self._new(
            master, [KeyNumber(kind, o, before.get(o, 0) + 1) for o in owners if o not in found]
        )
        added = key_rows.add(connection, kind, [one for one, _ in made.values()], datetime.now(UTC))
        found |= {owner: made[owner][1] for owner in added}
        if len(found) < len(owners):
            # Another process was first with these; it has committed.
            found |= self._usable(connection, kind, [o for o in owners if o not in found])
        return found

    def _new(
        self, master: str | None, numbers: Collection[KeyNumber]
    ) -> dict[int, tuple[Wrapped, DataKey]]:
        if master is None:
            raise LookupError("master_key")
        ring = self.ring(master)
        made = {}
        for number in numbers:
            secret = secrets.token_bytes(KEY_BYTES)
            one = Wrapped(number, master, ring.wrap(master, number, secret))
            made[number.owner] = (one, DataKey(number, secret))
        return made


def begin_finding(connection: Connection, ring: Keyring, master: str, now: datetime) -> bool:
    """Make the key of what rows are found by, wrapped by the master key that is in use; False where it is there.

    Whoever does that holds `at_rest.lock`. Raises: PermanentError("encryption.altered") where it was lost.
    """
    vault = Vault(lambda: ring, seals=True)
    if vault.seek(connection) is not None:
        return False
    number, secret = KeyNumber(FIND, FIND_OWNER, 1), secrets.token_bytes(KEY_BYTES)
    one = Wrapped(number, master, ring.wrap(master, number, secret))
    key_rows.add(connection, FIND, [one], now)
    key_rows.note_finding(connection)
    key_rows.raise_floor(connection, FIND_FLOOR)
    return True


def hang(engine: Engine, vault: Vault) -> None:
    """Let whoever has a connection of this engine seal and open."""
    attach(engine, _NAME, vault)


def vault_of(connection: Connection) -> Vault | None:
    """The vault of a connection's engine; None where there is none: a tool's, or a test's of something else."""
    found: Vault | None = attached(connection, _NAME)
    return found
