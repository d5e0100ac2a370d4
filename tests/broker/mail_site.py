"""A site that sends letters to the recipients they name, by a real mail server. People and addresses are invented."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import timedelta
from io import StringIO
from pathlib import Path

import msgspec

from adapters.smtp_client import SmtpDestination
from broker import app, plugins, settings
from broker.delivery import Courier
from broker.retry import Policy
from broker.telemetry import Telemetry
from broker.worker import Worker
from tests.adapters.certificates import Certificates
from tests.adapters.mail_server import MailServer
from tests.broker.lane_site import MAPPINGS
from tests.broker.replay_site import ReplaySite

ANNE, LUC, PAUL = "anne@ville.mssante.fr", "luc@ville.mssante.fr", "paul@bourg.mssante.fr"
INS = "279035121518989"
HOURLY = Policy(base=timedelta(hours=1), max_delay=timedelta(hours=1), jitter=0)


NOT_TO_PROFESSIONALS = (
    "OBX|2|CE|DESTMSSANTEPS^Destinataire^MetaDMPMSS||N^^expandedYes-NoIndicator||||||F\r"
)


def rct(address: str, name: str = "MEDECIN^ANNE", kind: str = "RPPS") -> str:
    """A recipient as the volet "Transmission d'un document CDA-R2 en HL7v2" has it."""
    person = f"899900000029^{name}^^^^^^ASIP-SANTE-PS&1.2.250.1.71.4.2.1&ISO^D^^^{kind}"
    told = f"^^X.400^{address}" if address else ""
    return f"PRT||UC||RCT^Result Copies To^participation|{person}||||||||||{told}\r"


def letter(
    patient: str,
    control_id: str,
    document: str,
    *recipients: str,
    replaces: str = "",
    deletes: bool = False,
    text: str = "Bonjour",
    ins: bool = False,
) -> bytes:
    """A letter about an invented patient to those who are reached at these addresses."""
    event = "T10" if replaces else "T04" if deletes else "T02"
    numbers = f"{patient}^^^CHU&1.2.250.1.999.1.1&ISO^PI"
    if ins:
        numbers += f"~{INS}^^^ASIP-SANTE-INS-NIR&1.2.250.1.213.1.4.10&ISO^INS"
    prts = "".join(one if one.endswith("\r") else rct(one) for one in recipients)
    return (
        f"MSH|^~\\&|GAM|CHU|CARNET|CHU|20261123100000||MDM^{event}|{control_id}|P|2.5|||||FRA|UNICODE UTF-8\r"
        f"PID|||{numbers}||EXEMPLE^JEANNE^^^^^L||19540201|F{'|' * 24 + 'VALI' if ins else ''}\r"
        f"TXA|1|CN|TX|20261122|||||1^AUTEUR^Anne|||{document}|{replaces}|||| AU\r"
        f"OBX|1|TX|1^Texte||{text}||||||F\r{prts}"
    ).encode()


class MailSite(ReplaySite):
    """A site with a destination `mail`, and couriers for it."""

    def __init__(self, folder: Path, url: str, mappings: Path = MAPPINGS) -> None:
        super().__init__(folder, url, mappings)
        with self.file.open("a", encoding="utf-8") as file:
            file.write(
                '[destination.mail]\nadapter = "smtp"\nhost = "127.0.0.1"\ntls = "none"\n'
                'sender = "carnet@hospital.invalid"\nsends = "cda"\nper_recipient = true\n'
                'recipient_domains = ["mssante.fr"]\nmax_recipients = 3\n'
                '[[route]]\nname = "letters"\nto = ["mail"]\nwhen = { kind = ["clinical_document"] }\n'
            )
        self.log = StringIO()
        self.telemetry = Telemetry("worker", writer="0", stream=self.log)
        self.renew()

    def renew(self, before: str = "", after: str = "") -> None:
        """Start again, with other settings."""
        text = self.file.read_text(encoding="utf-8")
        assert before in text
        self.file.write_text(text.replace(before, after), encoding="utf-8")
        self.settings = settings.load(
            self.file, adapters=plugins.adapters(), queues=plugins.queues()
        )
        self.pipeline = app.pipeline_of(self.settings, self.engine, self.telemetry, "worker-0")
        self.worker = Worker(self.pipeline, self.queue, self.telemetry, batch=50)

    def file_letters(self, *bodies: bytes) -> list[str]:
        ids = self.receive(*bodies)
        self.work()
        return [str(one) for one in ids]

    def owed(self, message_id: str = "") -> list[tuple[str, str, str]]:
        """(recipient, state, reason) of what was owed by mail, of one message or all, in order."""
        return [
            (row.recipient, row.state, row.reason)
            for row in self.rows(
                "SELECT d.recipient, d.state, d.reason FROM delivery d JOIN message m ON m.seq = d.message_seq "
                "WHERE d.destination = 'mail' AND (:id = '' OR CAST(m.id AS text) = :id) ORDER BY d.id",
                id=message_id,
            )
        ]

    def told(self, message_id: str) -> str:
        return self.detail(message_id).trail

    def mail_courier(self, server: MailServer, failures: int = 0) -> Courier:
        given = self.settings.destinations["mail"].options
        destination = SmtpDestination(
            "mail", msgspec.structs.replace(given, port=server.bound_port)
        )
        return self.courier(destination, name="mail", retry=HOURLY, failures=failures)

    def send_once(self, server: MailServer, failures: int) -> None:
        """Let a courier take what the queue has once; it stops where its circuit opens."""
        courier = self.mail_courier(server, failures)
        lease = self.queue.take("outbound.mail", 50, timedelta())
        assert lease is not None
        courier.serve(lease, threading.Event())
        courier._destination.close()
        courier._journal.close()

    def send(self, server: MailServer, failures: int = 0) -> None:
        """Let a courier do all that the queue has."""
        courier = self.mail_courier(server, failures)
        while (lease := self.queue.take("outbound.mail", 50, timedelta())) is not None:
            courier.serve(lease, threading.Event())
        courier._destination.close()
        courier._journal.close()


def server(certificates: Certificates, refuses: Sequence[tuple[str, str]] = ()) -> MailServer:
    """A mail server without TLS that answers RCPT of some addresses otherwise."""
    made = MailServer(certificates, tls="none")
    made.answers |= {f"RCPT {address}": answer for address, answer in refuses}
    made.start()
    return made
