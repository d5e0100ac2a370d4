"""Who and what the story is about, and what its chapters share: the site, the record, and who asks for what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from broker.access import Viewer
from broker.cli.opened import Ledger
from broker.cli.story_issuer import Issuers
from broker.cli.story_site import Api, Site, resources
from broker.cli.story_telling import Told
from broker.database.engine import reading as reading_of
from broker.parsing import hl7v2
from broker.records import account_rows, account_waits, notices, reading
from broker.records.account_rows import Space
from broker.rules import decide
from broker.settings import installed_folder

DISCHARGE, IMAGING, BIOLOGY = "11490-0", "18748-4", "11502-2"
HOSPITAL, SAMU = "HOPITAL_DEMO", "SAMU_DEMO"
PHYSICIAN, REGULATOR, TRAITANT, PODIATRIST = (
    "899900000128", "899900000136", "899900000144", "899900000151",
)  # fmt: skip
GENERAL = {"codeProfession": "10", "codeSavoirFaire": "SM26"}
FEET = {"codeProfession": "80"}
ADMISSION = "01-adt-a01.hl7"


@dataclass(slots=True)
class Cast:
    """What the chapters share. Days are counted from the letter."""

    site: Site
    issuers: Issuers
    ledger: Ledger
    rules: decide.Rules
    told: Told
    begun: datetime
    patient: int = 0
    received: int = 0
    discharge: str = ""
    people: dict[str, Api] = field(default_factory=dict)

    def day(self, number: float) -> datetime:
        """An instant of the story."""
        return self.begun + timedelta(days=number)

    # --- the record -----------------------------------------------------------------------------------------------

    def space(self) -> Space:
        """The patient's space as it stands."""
        with reading_of(self.ledger.engine) as connection:
            return account_rows.load(connection, [self.patient])[self.patient]

    def waiting(self) -> int:
        """How many messages wait for what becomes of the space."""
        with reading_of(self.ledger.engine) as connection:
            return account_waits.waiting(connection, self.patient)

    def sent(self, kind: str) -> bool:
        """Wait until a notice of this kind went out."""

        def is_so() -> bool:
            with reading_of(self.ledger.engine) as connection:
                found = notices.listing(connection, patient=self.patient, limit=200)
            return any(one.kind == kind and one.state == "sent" for one in found)

        return self.site.until(is_so)

    def send(self, path: Path, source: str = "hospital") -> None:
        """Send a file the way it travels, and wait until it is settled."""
        answer = self.site.send(source, path)
        self.told.expect(answer == "accepted", f"{path.name} was answered '{answer}'")
        self.received += 1
        done = self.site.settled(self.ledger, self.received)
        self.told.expect(done, f"{path.name} was not settled in time")

    def decided(self, viewer: Viewer) -> tuple[str, str]:
        """What `carnet decide` says of this viewer and the discharge report: the rule, and its sentence."""
        made = reading.hypothetical(
            self.ledger.engine, viewer, self.discharge, decide=self.rules.reading, now=self.site.clock()
        )  # fmt: skip
        if made is None:
            return "", ""
        return made.rule, decide.explain(self.rules, made)

    # --- the API --------------------------------------------------------------------------------------------------

    def enter(self, name: str, token: str, **headers: str) -> None:
        """Somebody comes to the API."""
        self.people[name] = Api(self.site, token, **headers)

    def search(self, who: str) -> httpx.Response:
        """Somebody lists the patient's documents."""
        given = {} if who == "patient" else {"patient_identifier": ins()}
        return self.people[who].search("DocumentReference", **given)

    def documents(self, who: str) -> dict[str, str]:
        """What the list shows: id -> type."""
        return {one["id"]: _type_of(one) for one in resources(self.search(who))}

    def looked(self) -> set[str]:
        """Who looked at the record, by name, as the API tells the patient."""
        found = resources(self.people["patient"].search("AuditEvent"))
        return {str(agent.get("name", "")) for one in found for agent in one["agent"]}

    def content(self, who: str, document: str) -> bytes:
        """The bytes of a document as the API gives them to somebody; nothing when it does not."""
        api = self.people[who]
        shown = api.get(f"DocumentReference/{document}")
        if shown.status_code != httpx.codes.OK:
            return b""
        url = shown.json()["content"][0]["attachment"].get("url", "")
        found = api.get(f"Binary/{url.rpartition('/')[2]}")
        return found.content if found.status_code == httpx.codes.OK else b""


def sample(name: str) -> Path:
    """A file of the samples."""
    return installed_folder("samples") / name


def ins() -> str:
    """The INS of the patient of the samples, as their admission names it: first of all its keys."""
    return hl7v2.patient_keys(sample(ADMISSION).read_bytes())[0][1]


def registration(folder: Path) -> Path:
    """An ADT^A28 of the samples' patient: who they are, before anybody treats them. Written into the folder."""
    lines = sample(ADMISSION).read_bytes().split(b"\r")
    kept = [line for line in lines if line[:3] in (b"MSH", b"EVN", b"PID")]
    text = b"\r".join([*kept, b"PV1|1|N", b""])
    text = text.replace(b"ADT^A01^ADT_A01", b"ADT^A28^ADT_A05").replace(b"GAM000001", b"GAM000000")
    path = folder / "00-adt-a28.hl7"
    path.write_bytes(text)
    return path


def _type_of(resource: Mapping[str, Any]) -> str:
    codings = resource.get("type", {}).get("coding", [])
    return str(codings[0].get("code", "")) if codings else ""
