"""What a patient says of who may see the record, as events that are never overwritten. For the command and the API.

Every word goes through `patients.add_consents`: one history, one consent version that decisions point to.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection as Connection  # noqa: PLC0414 - named by who writes through this module

from broker.access import professional_key
from broker.errors import SetupError
from broker.records.patients import EACH_TIME, NewConsent, add_consents, load

Word = Literal["IC", "INC", "withdrawn"]
"""Consents; informed and refuses; takes it back."""

NOBODY = "none"
TRAITANT_ADDRESS = "traitant_address"
"""Kind of the word that tells a médecin traitant's MSSanté address; its scope is their key."""


@dataclass(frozen=True, slots=True)
class Said:
    """Who tells it, how, since when; `on_behalf_of` is the professional it was collected for (CON-05)."""

    by: str
    channel: str
    now: datetime
    on_behalf_of: str | None = None


def is_team(to: str) -> bool:
    """Whether consent goes to a care team (`structure:…`, `group:…`) and not to one professional."""
    return to.startswith(("structure:", "group:"))


def consent(connection: Connection, patient: int, to: str, word: Word, said: Said) -> None:
    """Consent to consultation by a team (CON-02, CON-03), by one professional (CON-04), or with no `to` by any team.

    Raises: SetupError("consent.unknown") for a consent that names nobody.
    """
    if not to and word == "IC":
        raise SetupError(
            "consent.unknown",
            where="to",
            reason="a consent names the team or the professional it is given to",
            hint="structure:FINESS#VISIT, group:ID, or a national id",
        )
    if not to or is_team(to):
        _say(connection, patient, "consultation", to, word, said)
    else:
        _say(connection, patient, EACH_TIME, key(to), word, said)


def block(
    connection: Connection, patient: int, professional: str, is_blocked: bool, said: Said
) -> None:
    """Block a professional by national id, or take it back (ACC-05)."""
    value = "blocked" if is_blocked else "unblocked"
    _say(connection, patient, "block", key(professional), value, said)


def traitant(
    connection: Connection, patient: int, professional: str, said: Said, address: str = ""
) -> None:
    """Declare the médecin traitant in the DMP (ACC-07), or nobody (`none`).

    `address`: their MSSanté address, where emergency accesses are told (EMG-04). It stays known when empty.
    """
    value = NOBODY if professional == NOBODY else key(professional)
    _say(connection, patient, "traitant", "", value, said)
    if address and value != NOBODY:
        _say(connection, patient, TRAITANT_ADDRESS, value, address, said)


def oppose_emergency(
    connection: Connection, patient: int, mode: str, is_opposed: bool, said: Said
) -> None:
    """Oppose one emergency mode beforehand, or no longer (EMG-03)."""
    if mode not in ("bris_de_glace", "centre_15"):
        raise SetupError(
            "consent.unknown", where="mode", reason="no such mode", hint="bris_de_glace, centre_15"
        )
    _say(connection, patient, "emergency", mode, "opposed" if is_opposed else "allowed", said)


def mandate(
    connection: Connection, patient: int, representative: str, value: str, said: Said
) -> None:
    """Declare what lets a representative act (MIN-01, ADU-01); `value` as `rules.holder.Mandate` writes it."""
    _say(connection, patient, "mandate", representative, value, said)


def application(
    connection: Connection, patient: int, name: str, is_authorised: bool, said: Said
) -> None:
    """Authorise an application to read, or take it back (CON-09)."""
    _say(connection, patient, "application", name, "read" if is_authorised else "revoked", said)


def object_to_act(
    connection: Connection, patient: int, article: str, is_objected: bool, said: Said
) -> None:
    """Note that a minor objects to the mention of acts under an article (MIN-02, R.1111-33)."""
    value = "objected" if is_objected else "lifted"
    _say(connection, patient, "minor_act", article, value, said)


def key(professional: str) -> str:
    """A professional's key, of the national id or of `system|value`."""
    system, bar, value = professional.partition("|")
    return professional_key(system, value) if bar else professional_key("", professional)


def _say(
    connection: Connection, patient: int, kind: str, scope: str, value: str, said: Said
) -> None:
    if patient not in load(connection, [patient]):
        raise SetupError("consent.unknown", where="patient", reason="no such patient")
    event = NewConsent(
        patient,
        kind,
        value,
        said.by,
        said.channel,
        said.now,
        scope=scope,
        on_behalf_of=said.on_behalf_of,
    )
    add_consents(connection, [event], said.now)
