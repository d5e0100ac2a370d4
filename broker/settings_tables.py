"""The tables of `carnet.toml`: every setting that is Carnet's own, with its default, its type and its meaning.

A line `name: text` in a docstring's `Fields:` block describes one setting; from it come the reference page and
`carnet explain`. Reading and checking is in `settings`; what adapters add is in their own settings classes.
"""

from __future__ import annotations

import os
import re
from datetime import timedelta
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

import msgspec

from broker.circuit import CircuitPolicy
from broker.correlating import Expects
from broker.retry import Policy

_MOST_WORKERS = 8
_MOST_ROUNDS = 1_000

OnConflict = Literal["accept", "hold", "refuse"]
Sends = Literal["original", "fhir", "fhir-document", "hl7v2", "cda", "xdm"]


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of carnet.toml."""


class Site(Table, frozen=True, kw_only=True):
    """Who and where this installation is.

    Fields:
        name: short name of the installation, shown in logs and pages
        timezone: zone of the site's days and of local times without offset
        production: true refuses test identities and what `carnet doctor` calls unsafe
        data_folder: keys, embedded database and snapshots of metrics; needs a durable disk
        digest_key: 64 hexadecimal digits, by reference; needed when processes run on several machines, else made once
        hop_limit: a message that came round so many times, by other systems or given back by the one it is sent to, is parked
        loop_window: within what time it must have come back so often
    """

    name: str = "carnet"
    timezone: str = "Europe/Paris"
    production: bool = False
    data_folder: Path = Path("data")
    digest_key: str = ""
    hop_limit: int = 3
    loop_window: timedelta = timedelta(days=1)

    def __post_init__(self) -> None:
        if not 1 <= self.hop_limit <= _MOST_ROUNDS:
            raise ValueError(f"hop_limit must be 1 to {_MOST_ROUNDS}")
        if self.loop_window <= timedelta(0):
            raise ValueError("loop_window must be more than nothing")

    @property
    def zone(self) -> ZoneInfo:
        """The zone as an object."""
        return ZoneInfo(self.timezone)


class Database(Table, frozen=True, kw_only=True):
    """Where ledger, records and audit are kept.

    Fields:
        url: sqlite:///path, or postgresql+psycopg://host/name with its password by reference
    """

    url: str = ""


class Encryption(Table, frozen=True, kw_only=True):
    """The master keys under which content is encrypted at rest (`carnet encryption`).

    Fields:
        keyring: file with the master keys; processes on several machines need the same. Keep a copy apart from the backups of the database; default: `keyring` in the data folder
        master_keys: the text of such a file by reference, instead of the file
    """

    keyring: Path | None = None
    master_keys: str = ""


class Queue(Table, frozen=True, kw_only=True):
    """What carries the claim checks.

    Fields:
        url: "embedded" (a table of the database) or amqp://host/vhost, amqps://host/vhost; the nodes of a cluster as amqp://host:5672,host:5672/vhost
        prefix: keeps several installations apart on one RabbitMQ
        partitions: over how many queues the lanes are spread; change it only when drained
    """

    url: str = "embedded"
    prefix: str = "carnet"
    partitions: int = 8


class Intake(Table, frozen=True, kw_only=True):
    """How arriving messages are gathered into one commit.

    Fields:
        max_batch: most messages in one commit
        max_bytes: largest message taken, in bytes; a source may set less
        max_batch_bytes: most bytes in one commit
        max_waiting_bytes: most bytes that wait for their commit; more is refused for now
        min_free_bytes: senders are told to come back while a disk of this machine that Carnet writes to has less room; 0 never
        max_backlog: senders are told to come back while more messages than this are received and not settled; 0 never
    """

    max_batch: int = 500
    max_bytes: int = 20_000_000
    max_batch_bytes: int = 64_000_000
    max_waiting_bytes: int = 256_000_000
    min_free_bytes: int = 500_000_000
    max_backlog: int = 5_000_000


class Worker(Table, frozen=True, kw_only=True):
    """How received messages are filed.

    Fields:
        processes: worker processes on this machine; 0 is one a processor, at most 8 (one with SQLite)
        batch: most messages filed in one transaction
        gather_ms: longest rest of a worker, and of a courier, between two small batches, so that the next is larger; 0 none
        nice: how much workers yield to the listeners (0 to 19)
    """

    processes: int = 0
    batch: int = 250
    gather_ms: int = 400
    nice: int = 5

    def sized(self, database_url: str) -> Worker:
        """With the number of processes filled in where it is left to the machine."""
        if self.processes:
            return self
        # SQLite has one writer at a time: a second worker would only wait for the first.
        is_sqlite = database_url.startswith("sqlite")
        processes = 1 if is_sqlite else min(_MOST_WORKERS, len(os.sched_getaffinity(0)))
        return msgspec.structs.replace(self, processes=processes)


class Scheduler(Table, frozen=True, kw_only=True):
    """What happens by the clock.

    Fields:
        sweep_seconds: how often the ledger puts back work that the queue does not have
        sweep_grace_seconds: how long work must have been left alone before it counts as lost to the queue
        seal_seconds: how often new audit entries are sealed into the hash chain
    """

    sweep_seconds: float = 10
    sweep_grace_seconds: float = 10
    seal_seconds: float = 10


class Retention(Table, frozen=True, kw_only=True):
    """How long what was received is kept in the database. What is older goes to the archive, by whole months.

    Nothing goes unless a bound is set: how long a health message is kept is the law's and the house's business. Records,
    their documents and the trail are never pruned, nor what is not settled. Lengths may be written as "24 months" (of 31
    days) or "5 years" (of 366), besides "730d".

    Fields:
        messages: messages older than this leave the database with their bytes, deliveries and timelines; "0s" never
        raw: the bytes of messages older than this leave the database before the messages do; "0s" with them
        deliveries: prepared requests and answers of partners for messages older than this leave before the messages do; "0s" with them
        folder: where the archive is written, on a durable disk that is backed up; empty is `archive` in the data folder
        archive_key: 64 hexadecimal digits, by reference, that encrypt the archive; without it a key is derived from the digest key
        flow_minutes: how long counts by the minute are kept before they are folded into quarters of an hour
        flow_quarters: how long counts by the quarter are kept before they are folded into days, which are kept
    """

    messages: timedelta = timedelta(0)
    raw: timedelta = timedelta(0)
    deliveries: timedelta = timedelta(0)
    folder: Path = Path()
    archive_key: str = ""
    flow_minutes: timedelta = timedelta(days=2)
    flow_quarters: timedelta = timedelta(days=90)

    @property
    def bounds(self) -> tuple[timedelta, timedelta, timedelta]:
        """After how long bytes, what was sent, and messages leave; one that is not set goes with the messages."""
        return self.raw or self.messages, self.deliveries or self.messages, self.messages

    @property
    def archives_after(self) -> timedelta | None:
        """How old a message is when it is archived: before the first of it leaves. None: nothing ever leaves."""
        return min((bound for bound in self.bounds if bound), default=None)


class Audit(Table, frozen=True, kw_only=True):
    """Where the trail is sent, beside being kept here.

    Fields:
        receiver: host:port of a receiver of audit messages (IHE ATNA: syslog over TLS, usually 6514); empty for none
        ca: PEM file of the authorities that may have signed the receiver's certificate; those of the machine without one
        certificate: PEM file of Carnet's own certificate, where the receiver wants one
        key: PEM file of its key, where it does not stand in the same file
    """

    receiver: str = ""
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


class Telemetry(Table, frozen=True, kw_only=True):
    """Logs, metrics and health.

    Fields:
        listen: host:port of /metrics, /health and /ready; empty for none
        log_level: least level of the log
    """

    listen: str = "127.0.0.1:9464"
    log_level: Literal["debug", "info", "warning", "error"] = "info"


class Mappings(Table, frozen=True, kw_only=True):
    """Where mappings are found.

    Fields:
        folders: read together as one set, in which each mapping has its own name. The installed folder is the default; a site's own folder is named behind it
    """

    folders: tuple[Path, ...] = ()


class Rules(Table, frozen=True, kw_only=True):
    """Where the rules of access are found, and the switches that the texts leave open.

    A switch left at its default follows `switches.csv` of the folder, which knows what held on which day.

    Fields:
        folder: folder of the profession matrix and its companions; the installed folder is the default
        presumed_team_consent: the care team's consent is presumed, without an initial one (CON-06; annulled by the Conseil d'État on 15 October 2025)
        block_holds_in_emergency: a professional the patient blocked does not read in bris de glace either (EMG-05)
        cumulated_masks: a document may be masked to professionals and invisible to the patient at once (VIS-05)
        explicit_choice_for_minors: what is filed for a minor must say whether representatives see it (MIN-06)
        majority: age of majority, in years (MIN-05)
        secret_age: least age for a connexion secrète, in years (MIN-05)
        emergency_hours: longest emergency session (EMG-08)
        consultation_hours: how long a consent given to somebody outside the care team is of the same consultation (CON-04)
    """

    folder: Path = Path()
    presumed_team_consent: bool = False
    block_holds_in_emergency: bool = True
    cumulated_masks: bool = False
    explicit_choice_for_minors: bool = False
    majority: int = 18
    secret_age: int = 0
    emergency_hours: int = 4
    consultation_hours: int = 4

    @property
    def switched(self) -> dict[str, bool | int]:
        """The switches this site set otherwise than the texts."""
        return {
            one.name: getattr(self, one.name)
            for one in msgspec.structs.fields(type(self))
            if one.name != "folder" and getattr(self, one.name) != one.default
        }


class Notices(Table, frozen=True, kw_only=True):
    """How holders of spaces are told what happens to them.

    Fields:
        mail: destination (adapter smtp) of notices to holders whose mail address is known; empty sends none
        letter: destination (adapter file_drop: a folder that a printer empties) of notices of the life-cycle where there is no mail address or mail is refused; empty prints none
        webhook: destination (adapter http) of notices to activated spaces without a mail address; empty calls none
        mssante: destination (adapter smtp, by an MSSanté operator) of notices of emergency accesses to médecins traitants; it names the patient, so never one of ordinary mail; empty sends none
        language: language of notices where the holder's own is not known
        link: address of the space, as it stands in notices
        folder: folder of the templates; the installed folder is the default
        every_seconds: how often it is looked what is due, to spaces and to be told
    """

    mail: str = ""
    letter: str = ""
    webhook: str = ""
    mssante: str = ""
    language: Literal["fr", "en"] = "fr"
    link: str = ""
    folder: Path = Path()
    every_seconds: float = 60


class Issuer(Table, frozen=True, kw_only=True):
    """Whose access tokens the record's API takes: an OpenID provider, and what its claims are called.

    Fields:
        url: its identifier, as the claim `iss` says it; https, or http on this machine
        audience: what the claim `aud` must name
        speaks_for: professional (claims like those of Pro Santé Connect) or patient
        jwks_url: where its keys are; empty asks the issuer's discovery document
        algorithms: signatures taken; never a shared secret
        id_claim: national id of the professional, or the INS of the patient (of a representative, what their mandate was declared under)
        represents_claim: of tokens that speak for patients: the INS of the patient whom the one of `id_claim` represents; a token without it is the patient's own
        profession_claim: profession when SubjectRefPro tells none: a code with its table (`10^1.2.250.1.213.1.1.5.5`, `G15_10/SM26`) or a group of the matrix
        structure_claim: the structure somebody acts for
    """

    url: str
    audience: str
    speaks_for: Literal["professional", "patient"] = "professional"
    jwks_url: str = ""
    algorithms: tuple[str, ...] = ("RS256", "PS256", "ES256")
    id_claim: str = "SubjectNameID"
    represents_claim: str = "represents"
    profession_claim: str = "SubjectRole"
    structure_claim: str = "SubjectOrganizationID"

    def __post_init__(self) -> None:
        known = {f"{kind}{bits}" for kind in ("RS", "PS", "ES") for bits in (256, 384, 512)}
        if not self.algorithms or not known.issuperset(self.algorithms):
            raise ValueError(f"algorithms must be among {', '.join(sorted(known))}")
        for url in (self.url, self.jwks_url):
            if url and not re.match(r"https://|http://(127\.0\.0\.1|localhost|\[::1\])[:/]", url):
                raise ValueError("url and jwks_url must be https, or http on this machine")
        if not self.audience:
            raise ValueError("audience must name this API")


class Web(Table, frozen=True, kw_only=True):
    """The record's API (FHIR R4). It runs when an issuer of access tokens is named.

    Fields:
        host: address to listen on; loopback until told otherwise
        port: TCP port; 0 takes a free one (tests)
        url: how clients reach it, written into links (`https://record.example.org/fhir`); empty is the listener's own address
        processes: processes that share the port
        allow_plaintext: listen beyond loopback without TLS; only where the network itself is protected
        tls_certificate: PEM file of the listener's certificate and its chain; turns TLS on
        tls_key: PEM file of its private key, when not in the same file
        tls_key_password: password of the private key
        tls_client_ca: PEM file of the authorities of client certificates; turns mutual TLS on
        tls_client_crl: PEM file of the revocation list of those authorities
        max_connections: connections and requests at once; beyond it 503
        max_bytes: largest body of a search
        request_timeout: a request that is not answered by then is told to come back
        page_size: entries of a page when the client does not say; 200 is the most
        search_ttl: how long the links of a page can be followed
        written_mb: memory of each process for resources as they were last written (for 15 minutes at most), so that the next page is quicker; 0 keeps none
        pace: answers about a record leave at multiples of this after the request, so that their time tells nothing; 0 is at once
        issuer: whose access tokens are taken, as [[web.issuer]]
    """

    host: str = "127.0.0.1"
    port: int = 8090
    url: str = ""
    processes: int = 1
    allow_plaintext: bool = False
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_key_password: str = ""
    tls_client_ca: Path | None = None
    tls_client_crl: Path | None = None
    max_connections: int = 256
    max_bytes: int = 65_536
    request_timeout: timedelta = timedelta(seconds=30)
    page_size: int = 50
    search_ttl: timedelta = timedelta(minutes=15)
    written_mb: int = 64
    pace: timedelta = timedelta(milliseconds=10)
    issuer: tuple[Issuer, ...] = ()

    def __repr__(self) -> str:
        return f"Web({self.host}:{self.port})"

    def __post_init__(self) -> None:
        if not 1 <= self.page_size <= 200:
            raise ValueError("page_size must lie between 1 and 200")
        if not 0 <= self.written_mb <= 65_536:
            raise ValueError("written_mb must lie between 0 and 65536")
        if not 1 <= self.processes <= 256 or not 0 <= self.port <= 65_535:
            raise ValueError("processes must lie between 1 and 256, port between 0 and 65535")
        if self.processes > 1 and not self.port:
            raise ValueError("several processes need a port of their own choice")
        if len({one.url for one in self.issuer}) != len(self.issuer):
            raise ValueError("two issuers have the same url")


class When(Table, frozen=True, kw_only=True):
    """Conditions of a route: each list given must hold the message's value; none given takes every message.

    Fields:
        source: names of sources
        kind: kinds of documents (`clinical_document`, `result_report`, `encounter_event`, ...)
        type_code: codes of the document's type (`11490-0`)
        class_code: codes of the document's class (`10`)
        media: media types of the message
    """

    source: tuple[str, ...] = ()
    kind: tuple[str, ...] = ()
    type_code: tuple[str, ...] = ()
    class_code: tuple[str, ...] = ()
    media: tuple[str, ...] = ()


class Route(Table, frozen=True, kw_only=True):
    """What is delivered where: the short form of a routing rule, which stands behind those of the mapping folders.

    Fields:
        name: stable name of the route, shown in decisions
        to: destinations that are owed the message
        when: conditions
    """

    name: str
    to: tuple[str, ...]
    when: When = When()


class SourceCommon(Table, frozen=True, kw_only=True):
    """What every source has beside its adapter's own settings.

    Fields:
        adapter: name of the adapter (`carnet explain` lists them)
        on_conflict: a control id met again with other bytes is a new message (accept), waits (hold) or is refused
    """

    adapter: str
    on_conflict: OnConflict = "accept"


class DestinationCommon(Table, frozen=True, kw_only=True):
    """What every destination has beside its adapter's own settings.

    Fields:
        adapter: name of the adapter
        sends: original (the message's own bytes), or each document as fhir or fhir-document (a FHIR R4 Bundle: transaction or document), hl7v2 (a message by an outbound mapping), cda (CDA R2; what came as a CDA stays as it is) or xdm (an IHE XDM archive of the CDA and its metadata)
        mapping: name of the outbound mapping (`out/hl7v2-mdm`); empty for the one whose applies_when holds
        idempotent: true when sending twice does no harm there; an unknown outcome is then tried again
        verifiable: true when the partner can be asked whether it has a message; an unknown outcome is then settled by asking
        for_record: true where it is the patient's shared record (the DMP): what the patient refuses for the record is not sent there, nor when they refuse it while it waits
        expects: answers that come later, as messages of their own on a source (`{ answer_within = "15m", sources = ["ris-answers"] }`); empty awaits none
        pause: how long to wait between two messages, for a partner that wants it
        retry: how failures are tried again
        circuit: when a partner that fails again and again is left alone for a while
    """

    adapter: str
    sends: Sends = "original"
    mapping: str = ""
    idempotent: bool = False
    verifiable: bool = False
    for_record: bool = False
    expects: Expects | None = None
    pause: timedelta = timedelta(0)
    retry: Policy = Policy()
    circuit: CircuitPolicy = CircuitPolicy()

    def __post_init__(self) -> None:
        if self.pause < timedelta(0):
            raise ValueError("pause must not be negative")


TABLES: dict[str, type[Table]] = {
    "site": Site,
    "database": Database,
    "encryption": Encryption,
    "queue": Queue,
    "intake": Intake,
    "worker": Worker,
    "scheduler": Scheduler,
    "retention": Retention,
    "audit": Audit,
    "telemetry": Telemetry,
    "mappings": Mappings,
    "rules": Rules,
    "notices": Notices,
    "web": Web,
}
