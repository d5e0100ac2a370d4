"""A running API over a record of invented people: the real listener, real tokens, a real client."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import httpx
import msgspec
from sqlalchemy import Engine, text

from broker.database import sequences
from broker.database.engine import open_engine, writing
from broker.document import Attachment, Document, Identifier, Patient, PersonName, When
from broker.identity.matching import Key
from broker.records import content, patients
from broker.settings import Settings
from broker.settings_tables import Database, Web
from broker.settings_tables import Issuer as IssuerSettings
from broker.telemetry import Telemetry
from broker.web import listener
from broker.web.sealed import Seals
from tests.broker.records import record
from tests.web.issuer import AUDIENCE, Issuer
from tests.web.statements import Statements

SECRET = bytes(range(32))
PHYSICIAN = ("899900000029", "10/SM26")
PODIATRIST = ("899900000011", "80")
INS_OID = "1.2.250.1.213.1.4.10"
INS = "279035121518989"
OTHER_INS = "260058815400233"
BODY = b"%PDF-1.4 an invented letter"
DISCHARGE, CONSULTATION = "34112-3", "11488-4"


CONSENTED = {"X-Carnet-Consent": "explicit"}
"""The patient is there and says yes (CON-04)."""


class Site:
    """One installation: `engine` under it, `url` where it listens."""

    def __init__(self, engine: Engine, folder: Path, index: int = 0, **web: Any) -> None:
        self.engine, self.issuer, self.patients = engine, Issuer(), Issuer()
        self.later = timedelta(0)
        self.log = StringIO()
        self.telemetry = Telemetry("web", level="debug", strict=True, stream=self.log)
        issuers = (
            IssuerSettings(url=self.issuer.url, audience=AUDIENCE),
            IssuerSettings(
                url=self.patients.url, audience=AUDIENCE, speaks_for="patient", id_claim="ins",
                jwks_url=f"{self.patients.url}/jwks",
            ),
        )  # fmt: skip
        settings = msgspec.structs.replace(
            Settings.default(folder),
            database=Database(url=engine.url.render_as_string(hide_password=False)),
            web=Web(**{"port": 0, "pace": timedelta(0), "issuer": issuers} | web),
        )
        self.seals = Seals(SECRET, settings.web.search_ttl)
        self._stop = threading.Event()
        self._is_up = threading.Event()
        self.url = ""
        # The API has connections of its own, as a role has: statements of a test's own are not among them.
        self.served = open_engine(engine.url.render_as_string(hide_password=False))
        self._statements = Statements(self.served)
        self._thread = threading.Thread(
            target=listener.run,
            args=(settings, self.served, self.telemetry, SECRET, self.clock, self._stop, self._ready, index),
        )  # fmt: skip
        self._thread.start()
        assert self._is_up.wait(30)
        self.http = httpx.Client(base_url=f"{self.url}/fhir/", timeout=60)

    def _ready(self, addresses: dict[str, str]) -> None:
        self.url = addresses["web"]
        self._is_up.set()

    def clock(self) -> datetime:
        """The time of the API: now, and as much later as a test says."""
        return datetime.now(UTC) + self.later

    def close(self) -> None:
        self._stop.set()
        self._thread.join(60)
        self.http.close()
        self.served.dispose()
        for one in (self.issuer, self.patients):
            one.stop()

    # --- who asks -------------------------------------------------------------------------------------------------

    def physician(self, **claims: Any) -> dict[str, str]:
        return bearer(self.issuer.professional(*PHYSICIAN, **claims)) | CONSENTED

    def podiatrist(self, **claims: Any) -> dict[str, str]:
        return bearer(self.issuer.professional(*PODIATRIST, **claims)) | CONSENTED

    def patient(self, ins: str = INS, **claims: Any) -> dict[str, str]:
        return bearer(self.patients.sign({"ins": ins} | claims))

    def representative(self, who: str, ins: str = INS, **claims: Any) -> dict[str, str]:
        """Somebody whose token says that they represent the patient of an INS."""
        return bearer(self.patients.sign({"ins": who, "represents": ins} | claims))

    def get(self, path: str, who: dict[str, str], **parameters: str) -> httpx.Response:
        return self.http.get(path, headers=who, params=parameters)

    def search(self, kind: str, who: dict[str, str], **parameters: str) -> dict[str, Any]:
        """A search posted, as a client that keeps patients out of URLs does it."""
        answer = self.http.post(f"{kind}/_search", headers=who, data=parameters)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def ids(self, kind: str, who: dict[str, str], **parameters: str) -> list[str]:
        return ids_of(self.search(kind, who, **parameters))

    def reference(self, patient: int) -> str:
        return f"Patient/{self.seals.id_of(patient)}"

    # --- the record -----------------------------------------------------------------------------------------------

    def person(self, ins: str = INS, family: str = "EXEMPLE", born: str = "1979-03-28") -> int:
        now = record.NOW
        with writing(self.engine) as connection:
            number = sequences.reserve(connection, "patient", 1, now)
            traits = Patient(
                identifiers=(Identifier(value=ins, oid=INS_OID, system="ins_nir_test", kind="INS-NIR"),),
                names=(PersonName(family=family, given=("Jeanne",), use="birth"),),
                birth_date=When(value=born), sex="female",
            )  # fmt: skip
            keys = (Key(INS_OID, ins, "INS-NIR", "ins"),)
            patients.create(connection, [patients.NewPatient(number, keys, traits)], now)
        return number

    def put(self, patient: int, *papers: Document) -> None:
        record.put(self.engine, patient, *papers, now=datetime.now(UTC))

    def store(self, body: bytes = BODY, *, patient: int) -> Attachment:
        """Bytes in the store, as an attachment of a document."""
        name = hashlib.sha256(body).hexdigest()
        with writing(self.engine) as connection:
            content.store(connection, {(patient, name): body})
        return Attachment(
            sha256=name, sha1=hashlib.sha1(body).hexdigest(), size=len(body), media_type="application/pdf", role="main",
        )  # fmt: skip

    def count(self, table: str) -> int:
        with self.engine.connect() as connection:
            return int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())

    @contextmanager
    def statements(self) -> Iterator[list[str]]:
        """The statements that the API makes meanwhile."""
        began = len(self._statements.made)
        made: list[str] = []
        yield made
        made += self._statements.made[began:]


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def ids_of(bundle: dict[str, Any]) -> list[str]:
    return [
        one["resource"]["id"] for one in bundle.get("entry", []) if one["search"]["mode"] == "match"
    ]
