"""The catalogue: every event Carnet emits, and every reason code with its words. No I/O.

Code emits an event by name; `telemetry` makes a log line and a counter of it, `audit.trail` a permanent entry.
A reason is a code with a place and typed arguments, never free text: it can be grouped, counted and translated.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Level = Literal["debug", "info", "warning", "error"]


class Event(msgspec.Struct, frozen=True):
    """One kind of event: its level, what it means to an operator, and the bounded labels its counter carries."""

    name: str
    level: Level
    meaning: str
    labels: tuple[str, ...] = ()


def _catalogue(*events: Event) -> dict[str, Event]:
    return {event.name: event for event in events}


EVENTS: dict[str, Event] = _catalogue(
    Event("received", "debug", "a message was stored durably", ("source",)),
    Event("answered", "debug", "a sender was told the fate of its message", ("source", "code")),
    Event("duplicate_answered", "info", "a known message came again; its first answer was given again", ("source",)),
    Event("refused_at_door", "warning", "a message was refused before it was stored", ("source", "code")),
    Event("repaired", "info", "a tolerated defect was read as meant", ("source", "name")),
    Event("conflict", "warning", "a control id came again with other bytes", ("source", "policy")),
    Event("mapped", "debug", "a message was mapped to documents", ("source",)),
    Event("field_first_unread", "warning", "a populated field that no rule reads was met for the first time", ("source",)),
    Event("held", "warning", "a message waits for a person; its lane waits behind it", ("source", "reason")),
    Event("released", "info", "a held message goes on", ("source",)),
    Event("filtered", "info", "a message was not filed, for a reason", ("source", "reason")),
    Event("filed", "debug", "a document is in a patient's record", ("source",)),
    Event("delivered_only", "info", "a message was not filed but is delivered", ("source", "reason")),
    Event("owed", "debug", "a delivery is owed to a destination", ("destination",)),
    Event("attempt_started", "debug", "a delivery was begun", ("destination",)),
    Event("attempt_ended", "info", "a delivery ended", ("destination", "outcome")),
    Event("outcome_unknown", "error", "a delivery may or may not have arrived", ("destination",)),
    Event("parked", "error", "a message or delivery cannot go on without a person", ("source", "reason")),
    Event("skipped", "warning", "an operator let a lane go on without a message", ("source",)),
    Event("discarded", "warning", "an operator discarded a message", ("source",)),
    Event("lane_blocked", "warning", "one patient's lane waits", ("kind",)),
    Event("lane_flowing", "info", "one patient's lane flows again", ("kind",)),
    Event("charset_differs", "warning", "the bytes are not in the declared character set", ("source",)),
    Event("connection_opened", "debug", "a peer connected", ("source",)),
    Event("connection_closed", "debug", "a peer left, or was made to", ("source", "code")),
    Event("body_revealed", "info", "an operator opened the body of a message"),
    Event("exported", "info", "audit entries or records were exported"),
    Event("document_listed", "info", "a record was listed for a viewer"),
    Event("document_read", "info", "a document was read"),
    Event("refused", "info", "a read was refused by a rule"),
    Event("consent_changed", "info", "a patient's consent, opposition or account state changed"),
    Event("sealed", "info", "audit entries were sealed into the hash chain"),
    Event("verified", "info", "the audit chain was verified", ("result",)),
    Event("balance_checked", "info", "the balance was recounted", ("result",)),
    Event("swept", "warning", "the ledger put work back that the queue did not have", ("topic",)),
    Event("queue_unavailable", "warning", "the queue is away; work stays in the ledger", ("topic",)),
    Event("queue_back", "info", "the queue is back", ("topic",)),
    Event("database_unavailable", "error", "the database is away; senders are told to come back", ()),
    Event("role_started", "info", "a role is running", ("role",)),
    Event("role_stopped", "info", "a role has drained and stopped", ("role",)),
    Event("set_activated", "info", "a mapping set is in use", ()),
    Event("ready", "info", "everything configured is up", ()),
)


class Words(msgspec.Struct, frozen=True):
    """What a reason code says to people: a sentence for the operator in English and French, and what to do."""

    en: str
    fr: str
    help: str = ""


REASONS: dict[str, Words] = {
    "accepted": Words("Stored durably.", "Enregistré durablement."),
    "hl7v2.no_msh": Words(
        "The message does not begin with an MSH segment.",
        "Le message ne commence pas par un segment MSH.",
        "Check that the sender frames whole messages and sends HL7v2 to this port.",
    ),
    "media.unknown": Words(
        "The bytes are neither HL7v2, CDA, FHIR nor an XDM archive.",
        "Les octets ne sont ni HL7v2, ni CDA, ni FHIR, ni une archive XDM.",
        "Send one of these formats, or declare the content type.",
    ),
    "size.exceeded": Words(
        "The message is larger than this source accepts.",
        "Le message dépasse la taille admise par cette source.",
        "Raise max_bytes of the source, or have the sender split its message.",
    ),
    "control_id.conflict": Words(
        "The control id was already used for other bytes; this source refuses that.",
        "L'identifiant de contrôle a déjà servi pour un autre contenu ; cette source le refuse.",
        "Have the sender use unique control ids, or set on_conflict = \"accept\" for the source.",
    ),
    "control_id.conflict_held": Words(
        "The control id was already used for other bytes; the message waits for a person.",
        "L'identifiant de contrôle a déjà servi pour un autre contenu ; le message attend une décision.",
        "Compare both messages, then release or skip this one.",
    ),
    "duplicate.same_bytes": Words(
        "The same message was received and processed before.",
        "Le même message a déjà été reçu et traité.",
    ),
    "document.duplicate": Words(
        "The same document (identifier and content) is already in the record.",
        "Le même document (identifiant et contenu) est déjà dans le dossier.",
    ),
    "intake.busy": Words(
        "More is waiting to be stored than this broker takes in; the sender was asked to come back.",
        "Trop de messages attendent d'être enregistrés ; l'émetteur est invité à réessayer.",
        "Look at the database's commit times and the disk.",
    ),
    "database.unavailable": Words(
        "The database cannot be written now; the sender was asked to come back.",
        "La base de données ne peut être écrite ; l'émetteur est invité à réessayer.",
        "Check the database service and its disk.",
    ),
    "mapping.none": Words(
        "No mapping applies to this kind of message.",
        "Aucun mapping ne s'applique à ce type de message.",
        "Add a mapping whose applies_when holds for it (carnet map FILE shows which were tried).",
    ),
    "account.opposed": Words(
        "The patient opposes filing (R.1111-47): not filed, deliveries go on.",
        "Le patient s'oppose à l'alimentation (R.1111-47) : non versé, les envois continuent.",
    ),
    "account.closed": Words(
        "The patient's space is closed (R.1111-36): not filed, deliveries go on.",
        "L'espace du patient est clos (R.1111-36) : non versé, les envois continuent.",
    ),
    "account.suspended": Words(
        "The patient's space is suspended: not filed.",
        "L'espace du patient est suspendu : non versé.",
    ),
    "identity.missing": Words(
        "The message names no patient by identifier.",
        "Le message ne désigne aucun patient par un identifiant.",
        "PID-3 (or its equal) must carry an identifier with its assigning authority.",
    ),
    "identity.conflict": Words(
        "The identifiers of the message belong to different patients.",
        "Les identifiants du message appartiennent à des patients différents.",
        "Let the identity team decide, then release or skip the message.",
    ),
    "identity.merge_unsupported": Words(
        "Merging, linking or renumbering patients needs a person; nothing was changed.",
        "La fusion, le rapprochement ou la renumérotation demande une décision ; rien n'a changé.",
    ),
    "file.target_missing": Words(
        "The document to replace or delete is not in the record yet.",
        "Le document à remplacer ou supprimer n'est pas encore dans le dossier.",
        "It is filed as soon as its original arrives, or can be skipped.",
    ),
    "file.not_latest": Words(
        "Only the latest version of a document may be replaced or deleted.",
        "Seule la dernière version d'un document peut être remplacée ou supprimée.",
    ),
    "internal": Words(
        "Carnet failed on this message; its bytes are kept.",
        "Carnet a échoué sur ce message ; ses octets sont conservés.",
        "Report the message id to whoever maintains this installation.",
    ),
}


def words(code: str) -> Words:
    """The words of a reason; a code of a plug-in or a mapping speaks for itself."""
    return REASONS.get(code) or Words(code, code)
