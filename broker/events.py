"""The catalogue: every event Carnet emits, and every reason code with its words. No I/O.

Long because it is a list: one entry an event, one a reason, and nothing else.

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
    Event(
        "duplicate_answered",
        "info",
        "a known message came again; its first answer was given again",
        ("source",),
    ),
    Event(
        "refused_at_door",
        "warning",
        "a message was refused before it was stored",
        ("source", "code"),
    ),
    Event(
        "intake_failed",
        "error",
        "a message could not be stored and its sender was told so",
        ("source",),
    ),
    Event("counts_unwritten", "error", "counts could not be written, and are kept for later", ()),
    Event("repaired", "info", "a tolerated defect was read as meant", ("source", "name")),
    Event("conflict", "warning", "a control id came again with other bytes", ("source", "policy")),
    Event("mapped", "debug", "a message was mapped to documents", ("source",)),
    Event(
        "field_first_unread",
        "warning",
        "a populated field that no rule reads was met for the first time",
        ("source",),
    ),
    Event(
        "held",
        "warning",
        "a message waits for a person; its lane waits behind it",
        ("source", "reason"),
    ),
    Event("released", "info", "a held message goes on", ("source",)),
    Event("filtered", "info", "a message was not filed, for a reason", ("source", "reason")),
    Event(
        "delivered_only",
        "info",
        "a message was not filed; what it owes to destinations goes on",
        ("source", "reason"),
    ),
    Event(
        "waiting", "info", "a message waits for an earlier one of its patient", ("source", "reason")
    ),
    Event("retrying", "warning", "a message is tried again later, by itself", ("source", "reason")),
    Event(
        "internal_error",
        "error",
        "Carnet failed in its own code; the place is said, the message is kept",
        ("stage",),
    ),
    Event("filed", "debug", "a document is in a patient's record", ("source",)),
    Event(
        "delivered_only", "info", "a message was not filed but is delivered", ("source", "reason")
    ),
    Event("owed", "debug", "a delivery is owed to a destination", ("destination",)),
    Event("attempt_started", "debug", "a delivery was begun", ("destination",)),
    Event("attempt_ended", "info", "a delivery ended", ("destination", "outcome")),
    Event("intake_shut", "error", "senders are told to come back until there is room", ("reason",)),
    Event("intake_opened", "info", "there is room again, and messages are taken in", ("reason",)),
    Event(
        "circuit_opened",
        "error",
        "a destination fails and is left alone for a while",
        ("destination",),
    ),
    Event("circuit_closed", "info", "a destination answers again", ("destination",)),
    Event(
        "source_silent",
        "warning",
        "a source that usually sends at this time has sent nothing",
        ("source",),
    ),
    Event("source_back", "info", "a source that was silent has sent again", ("source",)),
    Event(
        "answer_matched",
        "info",
        "an answer that came as a message of its own was credited to its delivery",
        ("destination", "outcome"),
    ),
    Event(
        "answer_unmatched",
        "warning",
        "an answer came that fits no delivery, or more than one",
        ("source", "reason"),
    ),
    Event(
        "answer_overdue",
        "warning",
        "answers that a destination was to send have not come in time",
        ("destination",),
    ),
    Event(
        "destination_failed",
        "error",
        "a destination's courier ended by an error of its own; it is started again by itself",
        ("destination",),
    ),
    Event("destination_back", "info", "a destination's courier is at work again", ("destination",)),
    Event("outcome_unknown", "error", "a delivery may or may not have arrived", ("destination",)),
    Event(
        "parked",
        "error",
        "a message or delivery cannot go on without a person",
        ("source", "reason"),
    ),
    Event(
        "recipient_left_out",
        "info",
        "a document was not owed to a recipient it names, or to nobody at a destination, for a reason",
        ("destination", "reason"),
    ),
    Event("skipped", "warning", "an operator let a lane go on without a message", ("source",)),
    Event("discarded", "warning", "an operator discarded a message", ("source",)),
    Event("lane_blocked", "warning", "one patient's lane waits", ("kind",)),
    Event("lane_flowing", "info", "one patient's lane flows again", ("kind",)),
    Event(
        "charset_differs", "warning", "the bytes are not in the declared character set", ("source",)
    ),
    Event(
        "source_unavailable",
        "error",
        "what a source watches is away; it keeps looking",
        ("source",),
    ),
    Event("source_back", "info", "what a source watches is there again", ("source",)),
    Event("connection_opened", "debug", "a peer connected", ("source",)),
    Event("connection_closed", "debug", "a peer left, or was made to", ("source", "code")),
    Event("body_revealed", "info", "an operator opened the body of a message"),
    Event("exported", "info", "audit entries or records were exported"),
    Event("document_listed", "info", "a record was listed for a viewer"),
    Event("document_read", "info", "a document was read"),
    Event("refused", "info", "a read was refused by a rule"),
    Event("consent_changed", "info", "a patient's consent, opposition or account state changed"),
    Event(
        "account_moved",
        "info",
        "a patient's space went from one state to another, or something was noted of it",
        ("transition",),
    ),
    Event(
        "account_stuck",
        "warning",
        "something is due to a patient's space that its state does not allow",
        ("transition",),
    ),
    Event("notice_sent", "info", "a holder was told what happened", ("channel",)),
    Event(
        "notice_failed",
        "error",
        "a holder could not be told; it stands in the history",
        ("channel",),
    ),
    Event(
        "mirror_gap",
        "error",
        "accesses in the trail, lines patients see and notices differ; `carnet reconcile` names the patients",
    ),
    Event("sealed", "info", "audit entries were sealed into the hash chain"),
    Event(
        "seal_failed",
        "error",
        "audit entries wait to be sealed: the signing key cannot be used",
        ("code",),
    ),
    Event("audit_sent", "info", "audit entries were taken by the receiver of audit messages"),
    Event(
        "audit_unsent",
        "error",
        "the receiver of audit messages took nothing; it is sent again by itself",
        ("code",),
    ),
    Event("verified", "info", "the audit chain was verified", ("result",)),
    Event("balance_checked", "info", "the balance was recounted", ("result",)),
    Event("swept", "warning", "the ledger put work back that the queue did not have", ("topic",)),
    Event(
        "queue_unavailable", "warning", "the queue is away; work stays in the ledger", ("topic",)
    ),
    Event("queue_back", "info", "the queue is back", ("topic",)),
    Event(
        "filing_stopped",
        "error",
        "the database refuses what a worker writes, whatever it is; work waits and is tried again",
        (),
    ),
    Event("mapping_activated", "info", "a mapping set was proved and made the active one"),
    Event("mapping_set_used", "info", "a worker took up the active mapping set"),
    Event(
        "mapping_set_refused",
        "error",
        "a worker cannot load the active mapping set and goes on with the one it has",
        ("code",),
    ),
    Event("archived", "info", "settled messages were written to an archive, and read back from it"),
    Event("pruned", "info", "messages of an archive left the database", ("stage",)),
    Event(
        "retention_stopped",
        "error",
        "archiving or pruning stopped; nothing is lost, and it is tried again",
        ("code",),
    ),
    Event("released", "info", "held messages were released", ("reason",)),
    Event(
        "database_unavailable", "error", "the database is away; senders are told to come back", ()
    ),
    Event(
        "web_answered",
        "debug",
        "a request to the record's API was answered",
        ("kind", "code"),
    ),
    Event("web_failed", "error", "a request to the record's API failed inside the broker"),
    Event(
        "database_awaited",
        "error",
        "a role that was started again waits for the database, and starts when it is back",
        (),
    ),
    Event(
        "library_warned",
        "warning",
        "a library had something to say; where is told, its text is not kept",
        ("library",),
    ),
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
    "hl7v2.separators": Words(
        "No field separator can be read after MSH.",
        "Aucun séparateur de champ n'est lisible après MSH.",
        "MSH-1 is the character after MSH, MSH-2 the four that follow.",
    ),
    "hl7v2.empty_batch": Words(
        "The batch envelope holds no message.",
        "L'enveloppe du lot ne contient aucun message.",
    ),
    "hl7v2.too_large": Words(
        "The message is larger than 64 MB or has more than 20,000 segments.",
        "Le message dépasse 64 Mo ou 20 000 segments.",
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
        'Have the sender use unique control ids, or set on_conflict = "accept" for the source.',
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
    "replay.unchanged": Words(
        "It was read again, and says what is in the record already.",
        "Il a été relu, et dit ce qui est déjà dans le dossier.",
    ),
    "replay.superseded": Words(
        "It was read again, and the content of a later message stands there by now: that stays.",
        "Il a été relu, mais le contenu d'un message plus récent l'a remplacé : celui-ci reste.",
    ),
    "replay.other_patient": Words(
        "Read again, it names another patient than the one its document was filed for.",
        "Relu, il désigne un autre patient que celui pour qui son document a été classé.",
        "Find out which of the two is right before anything is moved; `carnet parked discard` leaves the record as it is.",
    ),
    "intake.busy": Words(
        "More is waiting to be stored than this broker takes in; the sender was asked to come back.",
        "Trop de messages attendent d'être enregistrés ; l'émetteur est invité à réessayer.",
        "Look at the database's commit times and the disk.",
    ),
    "pressure.disk": Words(
        "A disk of this broker is nearly full; the sender was asked to come back.",
        "Un disque de ce serveur est presque plein ; l'émetteur est invité à réessayer.",
        "Make room; messages are taken in again by themselves. `[intake] min_free_bytes` is the bound.",
    ),
    "pressure.backlog": Words(
        "More messages are received and not settled than this broker is to hold; the sender was asked to come back.",
        "Trop de messages reçus ne sont pas encore traités ; l'émetteur est invité à réessayer.",
        "Look at `carnet status`: workers that do not keep pace, or lanes that are held. `[intake] max_backlog` is the bound.",
    ),
    "pressure.memory": Words(
        "More bytes wait for their commit than this broker is to hold in memory; the sender was asked to come back.",
        "Trop d'octets attendent d'être enregistrés ; l'émetteur est invité à réessayer.",
        "Look at the database's commit times. `[intake] max_waiting_bytes` is the bound.",
    ),
    "database.unavailable": Words(
        "The database cannot be written now; the sender was asked to come back.",
        "La base de données ne peut être écrite ; l'émetteur est invité à réessayer.",
        "Check the database service and its disk.",
    ),
    "database.refused": Words(
        "The database refuses to be written, whatever is written; work waits and is tried again.",
        "La base de données refuse toute écriture ; le travail attend et sera réessayé.",
        "Look at the database's own log, and for damaged tables or indexes; then tell us of it.",
    ),
    "ledger.newer_layout": Words(
        "A newer version of Carnet received this; its workers make it readable.",
        "Une version plus récente de Carnet a reçu ce message ; ses processus le rendront lisible.",
        "Finish the upgrade: start the workers of the new version.",
    ),
    "archive.away": Words(
        "A file of the archive is not in its folder.",
        "Un fichier de l'archive n'est pas dans son dossier.",
        "Bring it back, or name the folder it is in: `[retention] folder`.",
    ),
    "archive.altered": Words(
        "A file of the archive is not as it was written; nothing it holds is pruned.",
        "Un fichier de l'archive n'est plus tel qu'il a été écrit ; rien de ce qu'il contient n'est purgé.",
        "Restore it from a backup, then `carnet archive verify`.",
    ),
    "archive.key": Words(
        "The archive was written with another key.",
        "L'archive a été écrite avec une autre clé.",
        "Set `[retention] archive_key` (or `site.digest_key`) to the key of that time.",
    ),
    "archive.newer": Words(
        "A newer version of Carnet wrote this archive.",
        "Une version plus récente de Carnet a écrit cette archive.",
        "Read it with that version.",
    ),
    "archive.unwritable": Words(
        "The archive's folder cannot be written; nothing is pruned.",
        "Le dossier de l'archive ne peut être écrit ; rien n'est purgé.",
        "Make room, or make the folder writable for Carnet.",
    ),
    "retention.trail": Words(
        "The trail is never pruned.",
        "Le journal des accès n'est jamais purgé.",
        "Export a copy with `carnet audit export`, and leave the table as it is.",
    ),
    "archive.running": Words(
        "Another process is archiving at this moment.",
        "Un autre processus archive en ce moment.",
        "Wait for it; it does the same.",
    ),
    "database.newer": Words(
        "The database belongs to a newer version of Carnet that this one does not know.",
        "La base de données relève d'une version plus récente de Carnet, que celle-ci ne connaît pas.",
        "Start the newer version again, or restore the backup from before its upgrade.",
    ),
    "queue.unavailable": Words(
        "The queue cannot be reached; work waits in the ledger and is put back.",
        "La file est injoignable ; le travail attend dans le registre et y sera repris.",
        "Check the RabbitMQ service; nothing is lost meanwhile.",
    ),
    "queue.unroutable": Words(
        "The queue of a partition or destination is missing on RabbitMQ.",
        "La file d'une partition ou d'une destination manque sur RabbitMQ.",
        "It is declared again at the next connection; check the rights of the account.",
    ),
    "queue.topology": Words(
        "RabbitMQ has this installation's queues with other arguments.",
        "RabbitMQ connaît les files de cette installation avec d'autres arguments.",
        "Drain and delete them, or choose another prefix.",
    ),
    "queue.url": Words(
        "The address of the queue cannot be used.",
        "L'adresse de la file est inutilisable.",
    ),
    "queue.garbled": Words(
        "A message on the queue was not written by this installation; it was set aside.",
        "Un message de la file ne vient pas de cette installation ; il a été écarté.",
        "Check who else may write to this virtual host.",
    ),
    "delivery.interrupted": Words(
        "A courier ended in the middle of this delivery: it may or may not have arrived.",
        "Un envoi a été interrompu : on ne sait pas s'il est arrivé.",
        "Ask the receiver, then `carnet parked release --as-sent`, or without it to send again.",
    ),
    "delivery.answered": Words(
        "Nobody knew whether this delivery had arrived; its answer came later.",
        "On ne savait pas si cet envoi était arrivé ; sa réponse est venue plus tard.",
    ),
    "answer.unmatched": Words(
        "This answers a message that was not sent, or not to who answers.",
        "Cette réponse concerne un message qui n'a pas été envoyé, ou pas à ce correspondant.",
        "Compare MSA-2 and MSH-3 to MSH-6 with what was sent; `expects.sources` binds a source to its destination.",
    ),
    "answer.ambiguous": Words(
        "This answer fits several deliveries.",
        "Cette réponse correspond à plusieurs envois.",
        "Set `expects.sources` of the destinations, so that each has a source of its own; then release it.",
    ),
    "answer.duplicate": Words(
        "The same answer has come before.",
        "La même réponse est déjà venue.",
    ),
    "answer.contradicts": Words(
        "An answer of the other kind (taken, refused) was credited before.",
        "Une réponse contraire (accepté, refusé) a déjà été prise en compte.",
        "Ask the partner what became of the message, then discard this one.",
    ),
    "answer.overdue": Words(
        "The partner was to answer by now, and has not.",
        "Le correspondant aurait déjà dû répondre.",
        "Ask the partner. A late answer is still credited; `carnet parked discard` awaits it no longer.",
    ),
    "answer.refused": Words(
        "The partner's business answer says that it did not take the document.",
        "La réponse métier du correspondant indique que le document n'est pas pris.",
        "The answer code says why. Correct it, then release the delivery.",
    ),
    "answer.AE": Words(
        "The partner took the message over, and its application found an error in it later.",
        "Le correspondant a reçu le message ; son application y a ensuite trouvé une erreur.",
        "Correct the message or its mapping, then release the delivery.",
    ),
    "answer.AR": Words(
        "The partner took the message over, and its application refused it later.",
        "Le correspondant a reçu le message ; son application l'a ensuite rejeté.",
        "Correct the message or its mapping, then release the delivery.",
    ),
    "answer.CE": Words(
        "The partner answered later that it could not take the message over.",
        "Le correspondant a répondu plus tard qu'il n'a pas pu prendre le message.",
        "Release the delivery to send it again.",
    ),
    "answer.CR": Words(
        "The partner answered later that it does not take such messages.",
        "Le correspondant a répondu plus tard qu'il ne prend pas ces messages.",
        "Correct the route or the mapping, then release the delivery.",
    ),
    "source.silent": Words(
        "This source usually sends at this time, and has sent nothing.",
        "Cette source émet d'habitude à cette heure, et n'a rien envoyé.",
        "Ask whoever runs it; look at its connections and its last error in `carnet status`, and at the network between.",
    ),
    "courier.failed": Words(
        "The courier of this destination ended by an error of its own, and is started again by itself.",
        "Le facteur de cette destination s'est arrêté sur une erreur interne ; il est relancé.",
        "Nothing is lost. The log's destination_failed says where; report it to who maintains this installation.",
    ),
    "delivery.verified": Words(
        "Nobody knew whether this delivery had arrived; the receiver was asked, and has it.",
        "On ne savait pas si cet envoi était arrivé ; le destinataire, interrogé, l'a bien reçu.",
    ),
    "delivery.adapter_failed": Words(
        "The adapter failed in a way it does not know: the delivery may or may not have arrived.",
        "Le connecteur a échoué de façon imprévue : on ne sait pas si l'envoi est arrivé.",
        "Ask the receiver, then let the lane go on or send again; report the adapter's defect.",
    ),
    "audit.keys": Words(
        "The keys that sign the trail cannot be used: nothing is sealed until they can.",
        "Les clés qui signent la trace sont inutilisables : rien n'est scellé d'ici là.",
        "Restore the folder of keys from its backup; or move it aside, and the next start makes a new key.",
    ),
    "audit.receiver_unreachable": Words(
        "The receiver of audit messages did not take what was sent; it is sent again by itself.",
        "Le récepteur des traces n'a pas pris l'envoi ; il sera refait automatiquement.",
        "Check [audit] receiver and ca, and that it listens with TLS.",
    ),
    "delivery.raced": Words(
        "Two couriers took the same delivery in hand in one instant; it is tried again.",
        "Deux facteurs ont pris le même envoi au même instant ; il sera repris.",
    ),
    "courier.journal": Words(
        "The courier cannot write its journal, and sends nothing without it.",
        "Le facteur ne peut pas tenir son journal et n'envoie rien sans lui.",
        "Make room on the disk of the data folder, or make it writable.",
    ),
    "adapter.not_verifiable": Words(
        "The settings say that this destination can be asked what it has; its adapter cannot ask.",
        "La configuration dit que ce destinataire peut être interrogé ; son connecteur ne le peut pas.",
        "Remove `verifiable`, or use an adapter that can.",
    ),
    "routing.loop": Words(
        "This message was sent on and came back to its source too many times: systems route it in a circle.",
        "Ce message a été retransmis et est revenu à sa source trop souvent : des systèmes se le renvoient.",
        "Look at its timeline for the partners, take the route of one of them away, then discard the message "
        "(docs/how-to/stop-a-loop.md).",
    ),
    "routing.filtered": Words(
        "A routing rule keeps this message from its destinations; it is not filed either. The place is the rule.",
        "Une règle de routage écarte ce message de ses destinataires ; il n'est pas versé non plus. Le lieu est la règle.",
        "`carnet decide --message ID` says which rules were looked at, and what became of each.",
    ),
    "routing.rules_invalid": Words(
        "A routing rule has an error.",
        "Une règle de routage comporte une erreur.",
        "`carnet mapping lint` shows each with its line; nothing was changed.",
    ),
    "recipient.none": Words(
        "The document names nobody with a mail address, so this destination is not sent it.",
        "Le document ne nomme aucun destinataire ayant une adresse de messagerie : il n'est pas envoyé ici.",
        "Nothing is to be done, unless the sender should have named somebody (PRT-15, informationRecipient).",
    ),
    "recipient.not_asked": Words(
        "The sender says that the document is not to be mailed to professionals.",
        "L'émetteur indique que le document n'est pas à envoyer par messagerie aux professionnels.",
    ),
    "recipient.no_address": Words(
        "A recipient is named without a mail address.",
        "Un destinataire est nommé sans adresse de messagerie.",
        "Have the sender give it with the recipient (PRT-15), or route the document to them in another way.",
    ),
    "recipient.patient": Words(
        "The recipient is the patient, whom this destination does not write to.",
        "Le destinataire est le patient, auquel cette destination n'écrit pas.",
    ),
    "recipient.malformed": Words(
        "What stands in place of a recipient's mail address is none.",
        "L'adresse de messagerie d'un destinataire n'est pas valide.",
        "Have the sender correct the address and send the document again; then discard this delivery.",
    ),
    "recipient.domain": Words(
        "A recipient's address is not of the domains that this destination may write to.",
        "L'adresse d'un destinataire ne relève pas des domaines autorisés pour cette destination.",
        "Ask the sender. If the domain is trusted, add it to recipient_domains and release the delivery; else discard it.",
    ),
    "recipient.taken_back": Words(
        "A document that the recipient may have was taken back; this form cannot say so, so nothing was sent.",
        "Un document que le destinataire peut avoir reçu a été annulé ; ce format ne peut pas le dire, rien n'est parti.",
        "Tell the recipient in another way, then discard this delivery.",
    ),
    "recipient.too_many": Words(
        "The document names more recipients than this destination writes to; nobody was written to.",
        "Le document nomme plus de destinataires que cette destination n'en accepte ; aucun n'a été servi.",
        "Ask the sender. If all are meant, raise max_recipients and have the document sent again.",
    ),
    "smtp.recipient": Words(
        "The address that a delivery is to go to is none.",
        "L'adresse à laquelle un envoi doit partir n'est pas valide.",
        "Set `to`, or per_recipient with recipient_domains; then release the delivery.",
    ),
    "smtp.recipient_domain": Words(
        "The address is not of the domains that this destination may write to any more.",
        "L'adresse ne relève plus des domaines autorisés pour cette destination.",
        "If the domain is trusted, add it to recipient_domains and release the delivery; else discard it.",
    ),
    "lane.behind": Words(
        "An earlier message of the same patient is not settled yet.",
        "Un message antérieur du même patient n'est pas encore traité.",
    ),
    "lane.held": Words(
        "A person holds the lane of this patient.",
        "Une personne retient la file de ce patient.",
        "`carnet lanes show LANE` says who and why; `carnet lanes release LANE` lets it go on.",
    ),
    "operator.skipped": Words(
        "An operator let the lane go on without it; the trail says who and why.",
        "Un opérateur a laissé la file avancer sans lui ; la trace dit qui et pourquoi.",
    ),
    "operator.discarded": Words(
        "An operator discarded it; the trail says who and why.",
        "Un opérateur l'a écarté ; la trace dit qui et pourquoi.",
    ),
    "edited": Words(
        "An operator corrected it: the corrected message was received in its place.",
        "Un opérateur l'a corrigé : le message corrigé a été reçu à sa place.",
    ),
    "delivery.confirmed": Words(
        "The partner confirmed that it arrived; an operator noted it.",
        "Le correspondant a confirmé l'arrivée ; un opérateur l'a noté.",
    ),
    "tls.handshake": Words(
        "A peer did not finish the TLS handshake.",
        "Un correspondant n'a pas mené à bien la négociation TLS.",
        "Compare its certificate (authority, dates, revocation) and TLS version with the source's settings.",
    ),
    "peer.not_allowed": Words(
        "A peer that is not on the source's list tried to connect.",
        "Un correspondant absent de la liste de la source a tenté de se connecter.",
        "Add it to peers if it is a partner; look into it if it is not.",
    ),
    "peer.sender": Words(
        "A peer sent in a name (MSH-3, MSH-4) that its connection is not bound to.",
        "Un correspondant a émis sous un nom (MSH-3, MSH-4) qui n'est pas le sien.",
        "Correct the sender, or the peers or tokens of the source.",
    ),
    "connections.exceeded": Words(
        "The source has as many connections as it allows.",
        "La source a atteint son nombre maximal de connexions.",
        "Look for a peer that opens many; raise max_connections if they are all wanted.",
    ),
    "memory.exceeded": Words(
        "Unfinished messages of all connections took more memory than allowed; one was dropped.",
        "Les messages inachevés occupaient trop de mémoire ; une connexion a été coupée.",
        "Raise max_held_bytes, or lower max_bytes.",
    ),
    "frame.timeout": Words(
        "A message did not arrive whole in time.",
        "Un message n'est pas arrivé entier dans le délai.",
        "Check the sender's framing (EB CR) and the network; raise frame_timeout for slow lines.",
    ),
    "frame.junk": Words(
        "A peer sent bytes that are not in MLLP frames.",
        "Un correspondant a envoyé des octets hors trame MLLP.",
        "Check that it speaks MLLP, and TLS where the source does.",
    ),
    "http.token": Words(
        "A request came without a valid token.",
        "Une requête est arrivée sans jeton valable.",
        "Give the partner its token, or look into it.",
    ),
    "http.body_timeout": Words(
        "A request's body did not arrive in time.",
        "Le corps d'une requête n'est pas arrivé dans le délai.",
    ),
    "file.empty": Words("A file was empty.", "Un fichier était vide."),
    "file.unreadable": Words(
        "A file may not be read.",
        "Un fichier ne peut pas être lu.",
        "Give Carnet's account the right to read what partners put there.",
    ),
    "file.unclaimable": Words(
        "A file may not be moved, so it was left alone.",
        "Un fichier ne peut pas être déplacé ; il est resté en place.",
        "Give Carnet's account the right to write in the folder.",
    ),
    "file.vanished": Words(
        "A claimed file was taken away before it was read.",
        "Un fichier pris en charge a disparu avant sa lecture.",
        "Only Carnet may touch its working folder.",
    ),
    "batch.no_trailer": Words(
        "A batch has a header (FHS, BHS) without its trailer; it may be cut, and nothing of it was taken.",
        "Un lot a un en-tête (FHS, BHS) sans fin ; il est peut-être tronqué, rien n'en a été pris.",
        "Have the sender put the whole file again.",
    ),
    "mapping.none": Words(
        "No mapping applies to this kind of message.",
        "Aucun mapping ne s'applique à ce type de message.",
        "Add a mapping whose applies_when holds for it (carnet map FILE shows which were tried).",
    ),
    "mapping.ambiguous": Words(
        "Several mappings apply to this message and none extends the others.",
        "Plusieurs mappings s'appliquent à ce message et aucun n'étend les autres.",
        "Let one extend the other, or narrow their applies_when.",
    ),
    "mapping.no_document": Words(
        "The mapping made no document of this message.",
        "Le mapping n'a produit aucun document de ce message.",
        "Look at the conditions of its documents, or set allow_none where that is meant.",
    ),
    "writing.charset": Words(
        "A text has a character that the destination's character set does not have.",
        "Un texte contient un caractère absent du jeu de caractères du destinataire.",
        "Let the outbound mapping write UNICODE UTF-8 in MSH-18, or agree on another set with the destination.",
    ),
    "mapping.required": Words(
        "A field that the mapping requires is missing.",
        "Un champ exigé par le mapping est absent.",
        "Have the sender fill it, or relax required in the site's mapping.",
    ),
    "mapping.unmapped_code": Words(
        "A code is not in its table, and the mapping refuses such messages.",
        "Un code n'est pas dans sa table, et le mapping refuse ces messages.",
        "Add the code to the table the reason names.",
    ),
    "mapping.code_held": Words(
        "A code is not in its table, and the mapping waits for its translation.",
        "Un code n'est pas dans sa table, et le mapping attend sa traduction.",
        "`carnet codes list` shows the codes; `carnet codes map` translates one and releases what waits.",
    ),
    "table.unknown": Words(
        "There is no such table in the mapping folders.",
        "Cette table n'existe pas dans les dossiers de mappings.",
        "`carnet codes list` names tables as they are wanted.",
    ),
    "table.translated": Words(
        "The code has a row in its table already.",
        "Ce code a déjà une ligne dans sa table.",
        "Change that row in the file, then `carnet mapping activate`.",
    ),
    "table.invalid": Words(
        "The file is no code table.",
        "Le fichier n'est pas une table de codes.",
        "A table is UTF-8 and has a header with from,to or source_code,target_code.",
    ),
    "table.columns": Words(
        "The table has no column for what the row says.",
        "La table n'a pas de colonne pour cette ligne.",
        "Give the table that column, or leave out what it has no place for.",
    ),
    "conceptmap.invalid": Words(
        "The file is no FHIR ConceptMap that can be read.",
        "Ce fichier n'est pas une ConceptMap FHIR lisible.",
        "The place says which element is wrong.",
    ),
    "mapping.tests_failed": Words(
        "A golden test of the mapping set does not hold; the set was not activated.",
        "Un test de référence du jeu de mappings échoue ; le jeu n'a pas été activé.",
        "`carnet mapping test` shows every difference.",
    ),
    "mapping.too_many_values": Words(
        "The message produced more values than any real one does.",
        "Le message produit plus de valeurs qu'aucun message réel.",
    ),
    "writing.character": Words(
        "The document has a character that the destination's format, XML, cannot hold.",
        "Le document contient un caractère que le format de la destination, XML, ne peut pas contenir.",
        "The place names the element. Have the sender leave control characters out, or send the original.",
    ),
    "mapping.too_long": Words(
        "Mapping the message took longer than five seconds, longer than any real one takes.",
        "Le mapping du message a duré plus de cinq secondes, plus qu'aucun message réel.",
        "Look at the message for thousands of repetitions; its bytes are kept.",
    ),
    "mapping.set_invalid": Words(
        "The mapping files have errors; nothing was started.",
        "Les fichiers de mapping comportent des erreurs ; rien n'a démarré.",
        "Each error names its file, line and column.",
    ),
    "embedded.patient_mismatch": Words(
        "The patient of the message is not the patient of the document in it.",
        "Le patient du message n'est pas celui du document qu'il contient.",
        "A person decides: nothing is filed for either patient.",
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
    "account.no_transition": Words(
        "The space is in a state in which this cannot happen.",
        "L'espace est dans un état où cela n'est pas possible.",
        "`carnet account show` says how it stands; docs/explanation/accounts.md has the table.",
    ),
    "account.not_due": Words("It is not the time yet.", "Ce n'est pas encore le moment."),
    "account.too_late": Words("The time for it is over.", "Le délai est écoulé."),
    "account.deceased": Words("The holder has died.", "Le titulaire est décédé."),
    "account.unknown_patient": Words("There is no such patient.", "Ce patient n'existe pas."),
    "account.of_age": Words("The person is 18 or older.", "La personne a 18 ans ou plus."),
    "account.attached_already": Words(
        "This parent reaches the child's space already.",
        "Ce parent accède déjà à l'espace de l'enfant.",
    ),
    "account.not_attached": Words(
        "This parent does not reach the child's space.",
        "Ce parent n'accède pas à l'espace de l'enfant.",
    ),
    "account.code_wrong": Words(
        "The code or the card's serial number is wrong; the attempt is counted.",
        "Le code ou le numéro de série de la carte est faux ; l'essai est compté.",
        "After five wrong attempts only a new code helps: `carnet account code`.",
    ),
    "account.code_expired": Words(
        "The code is not valid any more.",
        "Le code n'est plus valable.",
        "`carnet account code` gives another.",
    ),
    "account.code_locked": Words(
        "There were too many wrong attempts.",
        "Il y a eu trop d'essais erronés.",
        "`carnet account code` gives another code.",
    ),
    "account.code_none": Words(
        "No code was given for this space.",
        "Aucun code n'a été donné pour cet espace.",
        "`carnet account inform`, or `carnet account code`.",
    ),
    "account.unknown": Words(
        "There is no such state, mode or patient.", "Cet état, ce mode ou ce patient n'existe pas."
    ),
    "notices.template": Words(
        "A template of notices cannot be used.",
        "Un modèle d'avis ne peut pas être utilisé.",
        "The installed ones are in mappings/notices.",
    ),
    "migration.manifest": Words(
        "A line of the manifest cannot be read.",
        "Une ligne du manifeste est illisible.",
        "Its number is said; docs/how-to/open-accounts.md has the format.",
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
    "identity.event_unsupported": Words(
        "Deleting a patient, or changing an alternate number, needs a person; nothing was changed.",
        "Supprimer un patient, ou changer un numéro secondaire, demande une décision ; rien n'a changé.",
    ),
    "identity.moved": Words(
        "A number, account or visit went to another patient, with its documents; the journal says which.",
        "Un numéro, un dossier ou une venue est passé à un autre patient, avec ses documents ; le journal dit lesquels.",
    ),
    "identity.moved_nothing": Words(
        "Nothing of what is to be moved stands with the other patient: without effect.",
        "Rien de ce qui est à déplacer ne se trouve chez l'autre patient : sans effet.",
    ),
    "identity.moved_already": Words(
        "What is to be moved is in this record already: without effect.",
        "Ce qui est à déplacer est déjà dans ce dossier : sans effet.",
    ),
    "identity.move_behind": Words(
        "Earlier messages of the patient it is taken from are not settled: what they bring must move as well.",
        "Des messages antérieurs du patient d'origine ne sont pas réglés : ce qu'ils apportent doit aussi être déplacé.",
        "Where one of them is held, settle it first, then release this message (`carnet lanes release`).",
    ),
    "identity.move_target_missing": Words(
        "The message moves an identifier, and does not say to which patient: nothing was changed.",
        "Le message déplace un identifiant sans dire vers quel patient : rien n'a changé.",
        "PID-3 must carry an identifier of the right patient beside the one that is moved.",
    ),
    "identity.move_taken_back": Words(
        "A person took this move back before; nothing was changed.",
        "Ce déplacement a déjà été annulé par une personne ; rien n'a changé.",
        "Have the sender corrected, then skip the message.",
    ),
    "identity.not_a_move": Words(
        "The journal has no move under this number.",
        "Le journal n'a pas de déplacement sous ce numéro.",
        "`carnet patient journal` lists moves by their number.",
    ),
    "identity.unmoved_already": Words(
        "This move was taken back already.", "Ce déplacement a déjà été annulé."
    ),
    "identity.move_stale": Words(
        "What was moved has gone on to somebody else since: nothing was changed.",
        "Ce qui a été déplacé est depuis passé à quelqu'un d'autre : rien n'a changé.",
        "Take back the later move first: `carnet patient journal` has both.",
    ),
    "identity.prior_missing": Words(
        "The message merges, links or renumbers, and does not say whom or what: nothing was changed.",
        "Le message fusionne, rapproche ou renumérote sans dire qui ou quoi : rien n'a changé.",
        "MRG-1 (A24, A37: the second PID-3) must carry an identifier with its assigning authority.",
    ),
    "identity.two_ins": Words(
        "The two patients to merge have different INS: perhaps two people; nothing was changed.",
        "Les deux patients à fusionner ont des INS différentes : peut-être deux personnes ; rien n'a changé.",
        "Let the identity team decide: correct the wrong INS, then release the message, or skip it.",
    ),
    "identity.parted": Words(
        "A person un-merged these two patients before; nothing was changed.",
        "Ces deux patients ont déjà été séparés par une personne ; rien n'a changé.",
        "Merge them with `carnet patient merge` and release the message, or skip it.",
    ),
    "identity.merged": Words(
        "Two records became one; the journal says which.",
        "Deux dossiers n'en font plus qu'un ; le journal dit lesquels.",
    ),
    "identity.merged_already": Words(
        "The two are one record already: without effect.",
        "Les deux ne font déjà qu'un dossier : sans effet.",
    ),
    "identity.replayed": Words(
        "A replay changes no identity: what the message did when it came stands in the journal.",
        "Un rejeu ne change aucune identité : l'effet du message à son arrivée figure au journal.",
    ),
    "identity.circular": Words(
        "The survivor was itself merged into this patient before, which goes in a circle: without effect.",
        "Le patient conservé avait lui-même été fusionné dans celui-ci, ce qui tourne en rond : sans effet.",
        "The sender should say which number stays.",
    ),
    "identity.not_merged": Words(
        "This patient was not merged into another one: there is nothing to take back.",
        "Ce patient n'a pas été fusionné dans un autre : il n'y a rien à défaire.",
        "Name the absorbed patient, not the survivor: `carnet patient journal` says which it was.",
    ),
    "identity.linked_already": Words(
        "The two are shown together already.", "Les deux sont déjà montrés ensemble."
    ),
    "identity.not_linked": Words("The two are not linked.", "Les deux ne sont pas rapprochés."),
    "identity.linked": Words(
        "Two patients are shown together and filed separately.",
        "Deux patients sont montrés ensemble et versés séparément.",
    ),
    "identity.unlinked": Words(
        "Two patients are no longer shown together.",
        "Deux patients ne sont plus montrés ensemble.",
    ),
    "identity.renumbered": Words(
        "An identifier of the patient was changed.",
        "Un identifiant du patient a été changé.",
    ),
    "identity.ins_removed": Words(
        "The INS was taken off the patient; what was filed under it is to be looked at.",
        "L'INS a été retirée au patient ; ce qui a été versé sous elle est à revoir.",
        "`carnet patient journal` lists what was filed under it.",
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
    "identity.not_patient_number": Words(
        "The message has only numbers for billing, insurance or stays, which name no patient.",
        "Le message ne porte que des numéros de facturation, d'assurance ou de séjour, qui ne désignent pas le patient.",
        "PID-3 must carry the patient's own number (PI) or a qualified INS.",
    ),
    "identity.old_number": Words(
        "The message has only numbers that are no longer in use.",
        "Le message ne porte que des numéros qui ne sont plus utilisés.",
    ),
    "identity.too_long": Words(
        "The message has only numbers that are too long to be one, or of an authority whose name is.",
        "Le message ne porte que des numéros trop longs pour en être, ou dont l'autorité l'est.",
        "A number of a patient, and its authority, have 250 characters at most.",
    ),
    "identity.no_authority": Words(
        "The patient's number has no assigning authority and no source to stand for one.",
        "Le numéro du patient n'a ni autorité d'affectation ni source qui en tienne lieu.",
    ),
    "identity.ins_authority": Words(
        "The INS has an authority that issues none.",
        "L'INS porte une autorité qui n'en délivre pas.",
        "The OID must be one of 1.2.250.1.213.1.4.8 (NIR) and .9 (NIA).",
    ),
    "identity.ins_test": Words(
        "A test identity was sent to a production installation.",
        "Une identité de test a été envoyée à une installation de production.",
    ),
    "identity.ins_not_qualified": Words(
        "The message names the patient only by an INS that is not qualified (PID-32 is not VALI).",
        "Le message ne désigne le patient que par une INS non qualifiée (PID-32 différent de VALI).",
        "The sender must add its own number, or qualify the identity first.",
    ),
    "identity.ins_invalid": Words(
        "The INS has a wrong layout or key.",
        "L'INS a un format ou une clé erronés.",
    ),
    "identity.ins_differs": Words(
        "The patient known by this local number has another INS: two people, or a number used again.",
        "Le patient connu sous ce numéro local a une autre INS : deux personnes, ou un numéro réutilisé.",
        "Let the identity team decide, then release or skip the message.",
    ),
    "identity.race": Words(
        "Another worker created the same patient at the same moment; the batch is tried again.",
        "Un autre processus a créé le même patient au même moment ; le lot est repris.",
    ),
    "identity.doubtful": Words(
        "The identity is doubtful or fictitious: not filed, deliveries go on.",
        "L'identité est douteuse ou fictive : non versé, les envois continuent.",
    ),
    "account.not_open": Words(
        "The patient has no open space: not filed, deliveries go on.",
        "Le patient n'a pas d'espace ouvert : non versé, les envois continuent.",
    ),
    "filing.allowed": Words("The document may be filed.", "Le document peut être versé."),
    "document.deleted": Words(
        "The same document was in the record and has been deleted; it is not filed again.",
        "Le même document était au dossier et a été supprimé ; il n'est pas versé de nouveau.",
        "To file it again its author gives it a new identifier.",
    ),
    "file.target_ambiguous": Words(
        "Several current documents carry the identifier to replace or delete.",
        "Plusieurs documents en vigueur portent l'identifiant à remplacer ou supprimer.",
        "Look at them and decide which one is meant.",
    ),
    "file.target_other_patient": Words(
        "The document to replace or delete belongs to another patient.",
        "Le document à remplacer ou supprimer appartient à un autre patient.",
        "Check the identity in both messages before anything else.",
    ),
    "content.missing": Words(
        "The bytes referred to are not in the store.",
        "Les octets visés ne sont pas dans le stockage.",
    ),
    "content.damaged": Words(
        "The stored bytes are not those that were filed.",
        "Les octets stockés ne sont pas ceux qui ont été versés.",
        "Restore the database from a backup and verify it.",
    ),
    "encryption.erased": Words(
        "The content was erased, on request or by its term.",
        "Le contenu a été effacé, sur demande ou à son terme.",
    ),
    "encryption.altered": Words(
        "What is stored is not as it was written, or not in its place.",
        "Ce qui est stocké n'est pas tel qu'il a été écrit, ou pas à sa place.",
        "Restore the row from a backup, and find out who can write to the database.",
    ),
    "encryption.key_missing": Words(
        "The keyring misses the master key of something that is stored.",
        "Il manque au trousseau la clé maîtresse d'une donnée stockée.",
        "Restore the keyring from its copy; on several machines all need the same.",
    ),
    "encryption.keyring": Words(
        "The keyring cannot be used.",
        "Le trousseau de clés est inutilisable.",
        "Restore the keyring from its copy.",
    ),
    "access.author": Words("Its author reads it.", "Son auteur le lit."),
    "access.record": Words("The record may be looked at.", "Le dossier peut être consulté."),
    "access.own_record": Words(
        "The holder reads their own record.", "Le titulaire lit son dossier."
    ),
    "access.other_record": Words(
        "A patient asked for another record.", "Un patient a demandé le dossier d'autrui."
    ),
    "access.account_not_open": Words(
        "The patient's space is not open.", "L'espace du patient n'est pas ouvert."
    ),
    "access.deleted": Words("The document was deleted.", "Le document a été supprimé."),
    "access.masked": Words(
        "The document is masked to professionals.", "Le document est masqué aux professionnels."
    ),
    "access.not_yet_visible": Words(
        "The document is not visible to the patient yet.",
        "Le document n'est pas encore visible par le patient.",
    ),
    "access.matrix_open": Words("The matrix opens this type.", "La matrice ouvre ce type."),
    "access.matrix_closed": Words("The matrix closes this type.", "La matrice ferme ce type."),
    "access.matrix_unknown": Words(
        "Profession or document type unknown to the matrix.",
        "Profession ou type de document inconnu de la matrice.",
        "Give the type a shared code in the mapping's table, or the profession its code.",
    ),
    "access.emergency_opposed": Words(
        "The patient opposed this emergency mode.",
        "Le patient s'est opposé à ce mode d'urgence.",
    ),
    "access.emergency_motive": Words(
        "The emergency has no typed reason.", "L'urgence n'a pas de motif saisi."
    ),
    "access.emergency_profession": Words(
        "This emergency mode is not for this profession.",
        "Ce mode d'urgence n'est pas ouvert à cette profession.",
    ),
    "access.operator": Words("An operator sees metadata.", "Un opérateur voit les métadonnées."),
    "access.operator_motive": Words(
        "Opening content as an operator needs a typed reason.",
        "L'ouverture d'un contenu par un opérateur demande un motif saisi.",
    ),
    "access.operator_reveal": Words(
        "An operator opened content.", "Un opérateur a ouvert un contenu."
    ),
    "access.absent": Words("There is no such document.", "Aucun document ne correspond."),
    "access.blocked": Words(
        "The patient blocked this professional.",
        "Le patient a bloqué ce professionnel.",
    ),
    "access.traitant": Words(
        "The declared médecin traitant reads it.",
        "Le médecin traitant déclaré le lit.",
    ),
    "access.barred": Words(
        "This actor has no access, even with consent.",
        "Cet acteur n'a aucun accès, même avec consentement.",
    ),
    "access.nobody_responsible": Words(
        "No natural person answers for this access.",
        "Aucune personne physique ne répond de cet accès.",
    ),
    "access.consent_refused": Words(
        "The patient does not consent.",
        "Le patient ne consent pas.",
    ),
    "access.consent_initial": Words(
        "The care team has no initial consent.",
        "L'équipe de soins n'a pas de consentement initial.",
    ),
    "access.consent_each_time": Words(
        "Explicit consent at this consultation is missing.",
        "Le consentement exprès à cette consultation manque.",
    ),
    "access.not_authorised": Words(
        "The holder did not authorise this application.",
        "Le titulaire n'a pas autorisé cette application.",
    ),
    "access.authorised": Words(
        "The holder authorised this application.",
        "Le titulaire a autorisé cette application.",
    ),
    "access.emergency_over": Words(
        "The emergency session is over.",
        "La session d'urgence est terminée.",
    ),
    "access.secret_no_minor": Words(
        "A secret connection is about a minor.",
        "La connexion secrète concerne un mineur.",
    ),
    "access.secret_too_young": Words(
        "The patient is too young for a secret connection.",
        "Le patient est trop jeune pour une connexion secrète.",
    ),
    "access.hidden_from_representatives": Words(
        "The document is hidden from the legal representatives.",
        "Le document est masqué aux représentants légaux.",
    ),
    "access.represented": Words(
        "A representative reads for the patient.",
        "Un représentant lit pour le patient.",
    ),
    "access.carer": Words(
        "Carers have no access.",
        "Les aidants n'ont pas d'accès.",
    ),
    "access.mandate_over": Words(
        "The mandate does not hold today.",
        "Le mandat ne vaut pas aujourd'hui.",
    ),
    "access.mandate_scope": Words(
        "The mandate does not cover reading the record.",
        "Le mandat ne couvre pas la lecture du dossier.",
    ),
    "access.of_age": Words(
        "The patient is of age.",
        "Le patient est majeur.",
    ),
    "access.archive": Words(
        "Obtained from the archive of a closed space.",
        "Obtenu depuis l'archive d'un espace clos.",
    ),
    "change.holder": Words(
        "The holder may change this.",
        "Le titulaire peut modifier ceci.",
    ),
    "change.author": Words(
        "The author may change this.",
        "L'auteur peut modifier ceci.",
    ),
    "change.not_author": Words(
        "Only its author or the holder may change this.",
        "Seul son auteur ou le titulaire peut modifier ceci.",
    ),
    "change.one_way": Words(
        "What may be seen is not hidden again.",
        "Ce qui peut être vu n'est pas caché de nouveau.",
    ),
    "change.irreversible": Words(
        "Opened to the representatives for good.",
        "Ouvert aux représentants définitivement.",
    ),
    "filing.masks_cumulated": Words(
        "Masked to professionals and invisible to the patient at once.",
        "Masqué aux professionnels et invisible au patient à la fois.",
    ),
    "filing.secret_unhidden": Words(
        "Filed in a secret connection without hiding it from representatives.",
        "Versé en connexion secrète sans être masqué aux représentants.",
    ),
    "filing.no_choice": Words(
        "Filed for a minor without saying what representatives see.",
        "Versé pour un mineur sans dire ce que voient les représentants.",
    ),
    "xml.malformed": Words(
        "The XML is not well-formed.",
        "Le XML n'est pas bien formé.",
        "The place names the line; have the sender check it there.",
    ),
    "xml.doctype": Words(
        "XML with a DOCTYPE is not accepted: it could bring in entities or files.",
        "Le XML avec DOCTYPE n'est pas admis : il pourrait introduire des entités ou des fichiers.",
        "Have the sender leave the DOCTYPE out.",
    ),
    "xml.encoding": Words(
        "The XML is in an encoding that is not accepted.",
        "Le XML est dans un encodage non admis.",
        "UTF-8, UTF-16, ISO 8859 and Windows 125x are read.",
    ),
    "xml.too_large": Words(
        "The XML is larger than Carnet reads.",
        "Le XML dépasse la taille lue par Carnet.",
    ),
    "xml.too_many_elements": Words(
        "The XML has more elements than Carnet reads.",
        "Le XML compte plus d'éléments que Carnet n'en lit.",
    ),
    "xml.too_deep": Words(
        "The XML is nested more deeply than Carnet reads.",
        "Le XML est imbriqué plus profondément que Carnet ne lit.",
    ),
    "cda.no_document": Words(
        "The XML holds no ClinicalDocument.",
        "Le XML ne contient pas de ClinicalDocument.",
    ),
    "fhir.malformed": Words(
        "The FHIR resource is not valid JSON.",
        "La ressource FHIR n'est pas du JSON valide.",
        "The place names the byte.",
    ),
    "fhir.no_resource": Words(
        "The JSON or XML is not a FHIR resource.",
        "Le JSON ou le XML n'est pas une ressource FHIR.",
        "resourceType must say which one it is.",
    ),
    "fhir.too_large": Words(
        "The FHIR resource is larger than Carnet reads.",
        "La ressource FHIR dépasse la taille lue par Carnet.",
    ),
    "fhir.too_many_values": Words(
        "The FHIR resource has more values than Carnet reads.",
        "La ressource FHIR compte plus de valeurs que Carnet n'en lit.",
    ),
    "fhir.too_deep": Words(
        "The FHIR resource is nested more deeply than Carnet reads.",
        "La ressource FHIR est imbriquée plus profondément que Carnet ne lit.",
    ),
    "fhir.version": Words(
        "The FHIR version the sender declares is none that Carnet reads.",
        "La version FHIR annoncée par l'émetteur n'est pas lue par Carnet.",
        "R4, R4B, R5 and STU3 are read: ask the sender for R4.",
    ),
    "xdm.malformed": Words(
        "The archive cannot be read as a zip.",
        "L'archive n'est pas un zip lisible.",
    ),
    "xdm.unsafe_name": Words(
        "A name in the archive could lead outside it.",
        "Un nom de l'archive pourrait mener hors d'elle.",
    ),
    "xdm.not_a_file": Words(
        "The archive holds a link, device or pipe.",
        "L'archive contient un lien, un périphérique ou un tube.",
    ),
    "xdm.duplicate_name": Words(
        "Two entries of the archive have one name.",
        "Deux entrées de l'archive portent le même nom.",
    ),
    "xdm.bomb": Words(
        "The archive unpacks to far more than it holds.",
        "L'archive se déploie bien au-delà de ce qu'elle contient.",
    ),
    "xdm.too_many_entries": Words(
        "The archive has more entries than Carnet reads.",
        "L'archive compte plus d'entrées que Carnet n'en lit.",
    ),
    "xdm.too_large": Words(
        "The archive is larger than Carnet reads.",
        "L'archive dépasse la taille lue par Carnet.",
    ),
    "xdm.encrypted": Words(
        "The archive holds an encrypted entry.",
        "L'archive contient une entrée chiffrée.",
    ),
    "xdm.compression": Words(
        "The archive uses a compression that is not accepted.",
        "L'archive utilise une compression non admise.",
        "Stored and deflated entries are read.",
    ),
    "xdm.no_document": Words(
        "The archive holds no document.",
        "L'archive ne contient aucun document.",
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
