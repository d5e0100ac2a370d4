"""Every table: the ledger, the records, the trail. Migrations and this file are held equal by a test.

Long because it is a list of tables and nothing else.

Kept in one place below the stages that own the rows, so that a stage never has to import another for a table.
Numbers of the comments are the rows of the data design (what must be kept from the first message on). Tables named
in `PARTITIONED` are split by month on PostgreSQL, by the month in the high bits of their number (`values.Seq`).
"""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    text,
)

from broker.database.types import Big, Instant, UuidText

metadata = MetaData()

UNSETTLED = text("state < 10")
IN_A_STATE = text("state < 10 AND state >= 0")
"""What a state that is named implies, and `state < 10` alone does not: where nothing was open when PostgreSQL counted,
it takes one index of open messages for another, and reads all that wait for each lane it looks at.
"""

UNSETTLED_BY_KEY = "{}state + 0 < 10"
OPEN_BY_KEY = "({}settled_at + 0) IS NULL"
"""That messages, and deliveries, are unsettled, in statements that name their rows; a table's alias goes in front.

Said plainly, an index of all that is open could stand in for the key: where nothing was open when PostgreSQL counted,
it takes that one, and reads everything that waits.
"""

# Hands out numbers in blocks (see sequences.reserve).
counter = Table(
    "counter",
    metadata,
    Column("name", String, primary_key=True),
    Column("value", Big, nullable=False),
)

# --- the ledger -------------------------------------------------------------------------------------------------

# 1, 2, 3, 4: one received message, where it stands, what it is linked to, and what happened to it (`trail`).
message = Table(
    "message",
    metadata,
    Column("seq", Big, primary_key=True, autoincrement=False),
    Column("id", UuidText, nullable=False),
    Column("source", String, nullable=False),
    Column("received_at", Instant, nullable=False),
    Column("answered_at", Instant),
    Column("day", Integer, nullable=False),
    Column("kind", String, nullable=False),
    Column("answer_code", String),
    Column("format", String, nullable=False),
    Column("media", String),
    Column("type", String),
    Column("version", String),
    Column("charset_declared", String),
    Column("charset_used", String),
    Column("size", Integer, nullable=False),
    Column("sha256", LargeBinary, nullable=False),
    Column("digest", Big, nullable=False),
    Column("control_id", String),
    Column("sender", String),
    Column("peer", String),
    Column("transport_keys", Text),
    Column("lane", Big, nullable=False),
    Column("state", SmallInteger, nullable=False),
    Column("state_since", Instant, nullable=False),
    Column("reason", String),
    Column("reason_place", String),
    Column("reason_args", Text),
    Column("person", Big),
    Column("mapping_set", String),
    Column("engine", String),
    Column("rules_version", String),
    Column("attempts", SmallInteger, nullable=False, server_default="0"),
    Column("next_try_at", Instant),
    Column("parent", Big),
    Column("duplicate_of", Big),
    Column("conflicts_with", Big),
    Column("edited_from", Big),
    Column("replay_of", Big),
    Column("answers", Big),
    Column("trail", Text),
    # The run of replay it came with (`replay_run`), beside `replay_of`: the message it is read again from.
    Column("replay_run", Integer),
    Index("ix_message_id", "id"),
    Index("ix_message_source", "source", "seq"),
    Index(
        "ix_message_state",
        "state",
        "source",
        "seq",
        postgresql_where=IN_A_STATE,
        sqlite_where=UNSETTLED,
    ),
    Index("ix_message_lane", "lane", "seq", postgresql_where=UNSETTLED, sqlite_where=UNSETTLED),
    Index(
        "ix_message_reason",
        "reason",
        "seq",
        postgresql_where=text("reason IS NOT NULL"),
        sqlite_where=text("reason IS NOT NULL"),
    ),
    Index(
        "ix_message_replay",
        "replay_of",
        "seq",
        postgresql_where=text("replay_of IS NOT NULL"),
        sqlite_where=text("replay_of IS NOT NULL"),
    ),
)

# One run of `carnet messages replay`: what was chosen, how far it got (`position`, of `top`), what it did.
replay_run = Table(
    "replay_run",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("started_at", Instant, nullable=False),
    Column("started_by", String, nullable=False),
    Column("selection", Text, nullable=False),
    Column("delivers", Boolean, nullable=False),
    Column("low", Big, nullable=False),
    Column("top", Big, nullable=False),
    Column("position", Big, nullable=False),
    Column("replayed", Big, nullable=False, server_default="0"),
    Column("ended_at", Instant),
)

# What one commit of intake received, packed (see `records.receptions`), until somebody needs its messages. Only on
# PostgreSQL are there ever rows.
reception = Table(
    "reception",
    metadata,
    Column("first_seq", Big, primary_key=True, autoincrement=False),
    Column("last_seq", Big, nullable=False),
    Column("messages", Integer, nullable=False),
    Column("layout", SmallInteger, nullable=False),
    Column("own", Text, nullable=False),
    Column("alike", Text, nullable=False),
    Column("bodies", LargeBinary, nullable=False),
)

# The bytes as received, apart from the row that changes.
message_body = Table(
    "message_body",
    metadata,
    Column("seq", Big, primary_key=True, autoincrement=False),
    Column("body", LargeBinary, nullable=False),
)

# What decides on duplicates: `key` is the digest of source and control id (or of source and bytes, without one). A
# table with one index, so that no planner without statistics can walk another on the way to an answer.
control = Table(
    "control",
    metadata,
    Column("key", Big, primary_key=True, autoincrement=False),
    Column("digest", Big, primary_key=True, autoincrement=False),
    Column("seq", Big, primary_key=True, autoincrement=False),
)

# 5: keyed digests of what people search by; no value stands here.
business_key = Table(
    "business_key",
    metadata,
    Column("digest", Big, primary_key=True, autoincrement=False),
    Column("seq", Big, primary_key=True, autoincrement=False),
    Column("kind", SmallInteger, nullable=False),
    Column("key_version", SmallInteger, nullable=False),
)

# 7: outcomes counted in the bucket of the day the message was received; `writer` keeps writers off each other's rows.
tally_day = Table(
    "tally_day",
    metadata,
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("source", String, primary_key=True),
    Column("fate", String, primary_key=True),
    Column("writer", String, primary_key=True),
    Column("n", Big, nullable=False),
)

# 8: events by the clock, for rates and latencies: minutes for two days, quarters of an hour for 90, days for ever.
flow_minute = Table(
    "flow_minute",
    metadata,
    Column("source", String, primary_key=True),
    Column("slot", Integer, primary_key=True, autoincrement=False),
    Column("measure", String, primary_key=True),
    Column("writer", String, primary_key=True),
    Column("n", Big, nullable=False),
    Index("ix_flow_minute_slot", "slot"),
)
flow_quarter = Table(
    "flow_quarter",
    metadata,
    Column("source", String, primary_key=True),
    Column("slot", Integer, primary_key=True, autoincrement=False),
    Column("measure", String, primary_key=True),
    Column("writer", String, primary_key=True),
    Column("n", Big, nullable=False),
    Index("ix_flow_quarter_slot", "slot"),
)
flow_day = Table(
    "flow_day",
    metadata,
    Column("source", String, primary_key=True),
    Column("slot", Integer, primary_key=True, autoincrement=False),
    Column("measure", String, primary_key=True),
    Column("writer", String, primary_key=True),
    Column("n", Big, nullable=False),
)

# 9: what is true of a partner now, one row each.
source_now = Table(
    "source_now",
    metadata,
    Column("source", String, primary_key=True),
    Column("writer", String, primary_key=True),
    Column("received_at", Instant),
    Column("answered_at", Instant),
    Column("error_code", String),
    Column("error_at", Instant),
    Column("connections", Integer, nullable=False, server_default="0"),
    Column("heartbeat_at", Instant),
)
destination_now = Table(
    "destination_now",
    metadata,
    Column("destination", String, primary_key=True),
    Column("delivered_at", Instant),
    Column("error_code", String),
    Column("error_at", Instant),
    Column("circuit", String, nullable=False, server_default="closed"),
    Column("consecutive_failures", Integer, nullable=False, server_default="0"),
    Column("heartbeat_at", Instant),
)

# 10: a lane has a row only while it does not flow.
lane = Table(
    "lane",
    metadata,
    Column("kind", String, primary_key=True),
    Column("destination", String, primary_key=True),
    Column("lane", Big, primary_key=True, autoincrement=False),
    Column("state", String, nullable=False),
    Column("head_seq", Big, nullable=False),
    Column("since", Instant, nullable=False),
    Column("next_try_at", Instant),
    Column("attempts", SmallInteger, nullable=False, server_default="0"),
    Column("reason", String),
    Column("held_by", String),
    Column("hold_reason", String),
)

# The outbox: one row per (document version, destination, recipient, intent).
delivery = Table(
    "delivery",
    metadata,
    Column("id", Big, primary_key=True, autoincrement=False),
    Column("message_seq", Big, nullable=False),
    Column("document_id", UuidText),
    Column("destination", String, nullable=False),
    Column("recipient", String, nullable=False, server_default=""),
    Column("intent", String, nullable=False),
    Column("lane", Big, nullable=False),
    Column("state", String, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("settled_at", Instant),
    Column("next_try_at", Instant),
    Column("attempts", SmallInteger, nullable=False, server_default="0"),
    Column("reason", String),
    Column("reason_place", String),
    Column("answer_code", String),
    Column("ins_used", String),
    Column("hops", SmallInteger, nullable=False, server_default="0"),
    # The courier that has it in hand since then: one that died leaves its mark.
    Column("claimed_by", String),
    Column("claimed_at", Instant),
    Index(
        "ix_delivery_open",
        "destination",
        "lane",
        "id",
        postgresql_where=text("settled_at IS NULL"),
        sqlite_where=text("settled_at IS NULL"),
    ),
    Index("ix_delivery_message", "message_seq"),
    Index(
        "ix_delivery_stuck",
        "destination",
        "id",
        postgresql_where=text("state IN ('parked', 'unknown')"),
        sqlite_where=text("state IN ('parked', 'unknown')"),
    ),
)

# The request as rendered before the first attempt; a retry sends these same bytes.
prepared = Table(
    "prepared",
    metadata,
    Column("delivery_id", Big, primary_key=True, autoincrement=False),
    Column("media", String, nullable=False),
    Column("body", LargeBinary, nullable=False),
)

# 11: one row per attempt, its outcome and the answer as received.
attempt = Table(
    "attempt",
    metadata,
    Column("delivery_id", Big, primary_key=True, autoincrement=False),
    Column("number", SmallInteger, primary_key=True, autoincrement=False),
    Column("started_at", Instant, nullable=False),
    Column("ended_at", Instant),
    Column("outcome", String),
    Column("answer_code", String),
    Column("answer_matched", Boolean),
    Column("latency_us", Integer),
    Column("peer", String),
    Column("sent_digest", Big),
    Column("answer", LargeBinary),
    # What was sent, by its content: a message that comes back is known by it.
    Index(
        "ix_attempt_sent_at",
        "sent_digest",
        "started_at",
        postgresql_where=text("sent_digest IS NOT NULL"),
        sqlite_where=text("sent_digest IS NOT NULL"),
    ),
)

# By what an answer that comes later, as a message of its own, finds what it answers: `digest` is that of kind and key.
# Partners use their numbers again and one message may go to two of them, so a key may name several deliveries: who is
# credited is decided by `broker.answers`. Partitioned by the delivery: writing costs the same whatever is stored.
correlation = Table(
    "correlation",
    metadata,
    Column("digest", Big, primary_key=True, autoincrement=False),
    Column("delivery_id", Big, primary_key=True, autoincrement=False),
    Column("kind", String, nullable=False),
    Column("key", String, nullable=False),
)

# An answer that a delivery awaits, or has: `open`, `overdue`, `answered`, `refused`, `void` (nobody awaits it any more).
# `answer_seq` is the message that was credited to it.
expectation = Table(
    "expectation",
    metadata,
    Column("delivery_id", Big, primary_key=True, autoincrement=False),
    Column("kind", String, primary_key=True),
    Column("destination", String, nullable=False),
    Column("due_at", Instant, nullable=False),
    Column("state", String, nullable=False),
    Column("code", String),
    Column("answered_at", Instant),
    Column("answer_seq", Big),
    Index(
        "ix_expectation_due",
        "due_at",
        postgresql_where=text("state = 'open'"),
        sqlite_where=text("state = 'open'"),
    ),
    Index(
        "ix_expectation_overdue",
        "destination",
        "delivery_id",
        postgresql_where=text("state = 'overdue'"),
        sqlite_where=text("state = 'overdue'"),
    ),
    Index(
        "ix_expectation_answer",
        "answer_seq",
        postgresql_where=text("answer_seq IS NOT NULL"),
        sqlite_where=text("answer_seq IS NOT NULL"),
    ),
)

# Files that hold what was taken out of the ledger, or may be: see `broker.archive`. Each stage of pruning is noted when
# all of it is done; until then it is taken up again where it was.
archive = Table(
    "archive",
    metadata,
    Column("name", String, primary_key=True),
    Column("month", Integer, nullable=False),
    Column("first_seq", Big, nullable=False),
    Column("last_seq", Big, nullable=False),
    Column("messages", Integer, nullable=False),
    Column("deliveries", Integer, nullable=False),
    Column("size", Big, nullable=False),
    Column("sha256", LargeBinary, nullable=False),
    Column("first_id", UuidText, nullable=False),
    Column("last_id", UuidText, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("bodies_pruned_at", Instant),
    Column("deliveries_pruned_at", Instant),
    Column("messages_pruned_at", Instant),
    Index("ix_archive_month", "month"),
)

# The numbers of messages and deliveries that an archive holds, as runs without a gap: they never overlap.
archive_span = Table(
    "archive_span",
    metadata,
    Column("kind", String, primary_key=True),
    Column("first", Big, primary_key=True, autoincrement=False),
    Column("last", Big, nullable=False),
    Column("archive", String, nullable=False),
    Index("ix_archive_span_archive", "archive"),
)

# What an archive holds of each day, as the balance counts it.
archive_day = Table(
    "archive_day",
    metadata,
    Column("archive", String, primary_key=True),
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("source", String, primary_key=True),
    Column("fate", String, primary_key=True),
    Column("n", Integer, nullable=False),
    Index("ix_archive_day_day", "day"),
)

# The oldest revision whose code works on this schema: an older version of Carnet does not start.
schema_floor = Table(
    "schema_floor",
    metadata,
    Column("revision", String, primary_key=True),
)

# --- mappings ---------------------------------------------------------------------------------------------------

# Sets that were proved and used, as they were: what a document names can be looked at and run again.
mapping_set = Table(
    "mapping_set",
    metadata,
    Column("hash", String, primary_key=True),
    Column("activated_at", Instant, nullable=False),
    Column("activated_by", String, nullable=False),
    Column("files", LargeBinary, nullable=False),
)

# What messages say and no rule reads: places and counts, never values. The empty path counts the messages looked at.
coverage = Table(
    "coverage",
    metadata,
    Column("source", String, primary_key=True),
    Column("mapping", String, primary_key=True),
    Column("version", String, primary_key=True),
    Column("path", String, primary_key=True),
    Column("n", Big, nullable=False),
    Column("first_seen", Instant, nullable=False),
    Column("last_seen", Instant, nullable=False),
)

# Codes that a table did not have, to be worked through.
unmapped_code = Table(
    "unmapped_code",
    metadata,
    Column("source", String, primary_key=True),
    Column("code_table", String, primary_key=True),
    Column("system", String, primary_key=True),
    Column("code", String, primary_key=True),
    Column("display", String, nullable=False),
    Column("n", Big, nullable=False),
    Column("first_seen", Instant, nullable=False),
    Column("last_seen", Instant, nullable=False),
)

# --- the records ------------------------------------------------------------------------------------------------

patient = Table(
    "patient",
    metadata,
    Column("id", Big, primary_key=True, autoincrement=False),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    Column("account", String, nullable=False, server_default="open_unactivated"),
    Column("account_since", Instant, nullable=False),
    Column("consent_version", Integer, nullable=False, server_default="0"),
    Column("traits", LargeBinary, nullable=False),
    Column("merged_into", Big),
    # Keyed digest of the strict traits: who might be the same person is found by it, never by a scan.
    Column("traits_digest", Big),
    Index(
        "ix_patient_merged",
        "merged_into",
        postgresql_where=text("merged_into IS NOT NULL"),
        sqlite_where=text("merged_into IS NOT NULL"),
    ),
    Index(
        "ix_patient_traits",
        "traits_digest",
        "id",
        postgresql_where=text("traits_digest IS NOT NULL"),
        sqlite_where=text("traits_digest IS NOT NULL"),
    ),
)

patient_identifier = Table(
    "patient_identifier",
    metadata,
    Column("system", String, primary_key=True),
    Column("value", String, primary_key=True),
    Column("patient", Big, nullable=False),
    Column("kind", String, nullable=False),
    Column("since", Instant, nullable=False),
    Index("ix_patient_identifier_patient", "patient"),
)

# 24: what became of identities, append-only: merge, unmerge, link, unlink, renumber, remove, cross, move, unmove. `patient`
# is the absorbed person (or who something is moved from), `other` the survivor (or who it goes to); `details` is JSON.
identity_event = Table(
    "identity_event",
    metadata,
    Column("n", Big, primary_key=True, autoincrement=False),
    Column("at", Instant, nullable=False),
    Column("kind", String, nullable=False),
    Column("patient", Big, nullable=False),
    Column("other", Big),
    Column("by_kind", String, nullable=False),
    Column("by", String, nullable=False),
    Column("because", String),
    Column("message_seq", Big),
    Column("reverts", Big),
    Column("details", Text, nullable=False),
)

# Everybody an identity event concerned, as the records were then; `side` is absorbed or survivor.
identity_event_member = Table(
    "identity_event_member",
    metadata,
    Column("patient", Big, primary_key=True, autoincrement=False),
    Column("n", Big, primary_key=True, autoincrement=False),
    Column("side", String, nullable=False),
    Index("ix_identity_event_member_n", "n"),
)

# Persons that are shown together and filed separately (A24): the lower number first.
identity_link = Table(
    "identity_link",
    metadata,
    Column("one", Big, primary_key=True, autoincrement=False),
    Column("other", Big, primary_key=True, autoincrement=False),
    Column("since", Instant, nullable=False),
    Index("ix_identity_link_other", "other"),
)

# Pairs that might be one person: a person decides, and the answer is kept for ever.
identity_candidate = Table(
    "identity_candidate",
    metadata,
    Column("one", Big, primary_key=True, autoincrement=False),
    Column("other", Big, primary_key=True, autoincrement=False),
    Column("why", String, nullable=False),
    Column("state", String, nullable=False, server_default="open"),
    Column("found_at", Instant, nullable=False),
    Column("decided_by", String),
    Column("decided_at", Instant),
    Column("because", String),
    Index("ix_identity_candidate_other", "other"),
    Index(
        "ix_identity_candidate_open",
        "found_at",
        "one",
        "other",
        postgresql_where=text("state = 'open'"),
        sqlite_where=text("state = 'open'"),
    ),
)

# 18: what the patient wants, append-only; a past decision is replayed with the version it saw.
consent_event = Table(
    "consent_event",
    metadata,
    Column("patient", Big, primary_key=True, autoincrement=False),
    Column("n", Integer, primary_key=True, autoincrement=False),
    Column("kind", String, nullable=False),
    Column("scope", String, nullable=False, server_default=""),
    Column("value", String, nullable=False),
    Column("by", String, nullable=False),
    Column("on_behalf_of", String),
    Column("channel", String, nullable=False),
    Column("text_version", String),
    Column("at", Instant, nullable=False),
    Column("message_seq", Big),
)

# Who takes part in a patient's care (L.1110-12), append-only: `member` is a structure, a professional or a group, and
# enters and leaves, perhaps several times. The same word again is the same row.
care_team = Table(
    "care_team",
    metadata,
    Column("patient", Big, primary_key=True, autoincrement=False),
    Column("member", String, primary_key=True),
    Column("episode", String, primary_key=True),
    Column("at", Instant, primary_key=True, autoincrement=False),
    Column("act", String, primary_key=True),
    Column("branch", SmallInteger, nullable=False),
    Column("by", String, nullable=False),
    Column("channel", String, nullable=False),
    Column("recorded_at", Instant, nullable=False),
    Column("message_seq", Big),
)

# What became of the visibility of a document, append-only; `document` holds how it stands.
document_sight = Table(
    "document_sight",
    metadata,
    Column("id", Big, primary_key=True, autoincrement=False),
    Column("document", UuidText, nullable=False),
    Column("at", Instant, nullable=False),
    Column("change", String, nullable=False),
    Column("by", String, nullable=False),
    Column("channel", String, nullable=False),
    Column("rule", String, nullable=False),
    Column("message_seq", Big),
    Index("ix_document_sight_document", "document", "id"),
)

# 17: what lists and filters need, outside the payload.
document = Table(
    "document",
    metadata,
    Column("id", UuidText, primary_key=True),
    Column("patient", Big, nullable=False),
    Column("series", Big, nullable=False),
    Column("unique_key", Big),
    Column("set_key", Big),
    Column("version_number", Integer),
    Column("kind", String, nullable=False),
    Column("type_code", String),
    Column("type_system", String),
    Column("class_code", String),
    Column("category", String),
    Column("status", String, nullable=False),
    Column("availability", String, nullable=False),
    Column("replaces", UuidText),
    Column("sort_at", Instant, nullable=False),
    Column("filed_at", Instant, nullable=False),
    Column("visible_from", Instant),
    Column("masked_ps", Boolean, nullable=False),
    Column("hidden_from_reps", Boolean, nullable=False),
    Column("confidentiality", String, nullable=False),
    Column("deposited_by", String, nullable=False),
    Column("author", Text),
    Column("author_ids", Text),
    Column("media", String),
    Column("size", Integer, nullable=False),
    Column("pages", Integer),
    Column("content_sha256", LargeBinary),
    Column("message_seq", Big, nullable=False),
    Index("ix_document_order", "patient", text("sort_at DESC"), text("id DESC")),
    Index("ix_document_visible", "patient", text("visible_from DESC")),
    Index("ix_document_class", "patient", "class_code", text("sort_at DESC")),
    Index(
        "ix_document_unique",
        "unique_key",
        postgresql_where=text("unique_key IS NOT NULL"),
        sqlite_where=text("unique_key IS NOT NULL"),
    ),
    Index(
        "ix_document_set",
        "set_key",
        postgresql_where=text("set_key IS NOT NULL"),
        sqlite_where=text("set_key IS NOT NULL"),
    ),
    Index("ix_document_message", "message_seq"),
)

# The document in the common model (JSON of `broker.document`, packed); `encoding` is json, or sealed (`encryption.sealed`).
document_payload = Table(
    "document_payload",
    metadata,
    Column("id", UuidText, primary_key=True),
    Column("encoding", String, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    # What `carnet encryption seal` has still to do; empty where content is encrypted.
    Index(
        "ix_document_payload_plain",
        "id",
        postgresql_where=text("encoding = 'json'"),
        sqlite_where=text("encoding = 'json'"),
    ),
)

# Attachment bytes of before there was `attachment`, once each.
content = Table(
    "content",
    metadata,
    Column("sha256", LargeBinary, primary_key=True),
    Column("sha1", LargeBinary, nullable=False),
    Column("size", Integer, nullable=False),
    Column("body", LargeBinary, nullable=False),
)

# Attachment bytes, exactly as decoded at entry, once a patient: sealed under the key of that patient's record. Older ones
# stand in `content` until `carnet encryption seal` has moved them.
attachment = Table(
    "attachment",
    metadata,
    Column("patient", Big, primary_key=True, autoincrement=False),
    Column("sha256", LargeBinary, primary_key=True),
    Column("size", Integer, nullable=False),
    Column("body", LargeBinary, nullable=False),
)

# Keys that content is sealed under (`broker.encryption`), each wrapped by the master key `master`; one that was destroyed
# has no `wrapped` any more. `owner` is a patient or a month.
data_key = Table(
    "data_key",
    metadata,
    Column("kind", SmallInteger, primary_key=True, autoincrement=False),
    Column("owner", Big, primary_key=True, autoincrement=False),
    Column("generation", SmallInteger, primary_key=True, autoincrement=False),
    Column("master", String, nullable=False),
    Column("wrapped", LargeBinary),
    Column("made_at", Instant, nullable=False),
    Column("destroyed_at", Instant),
)

# The master keys in their order: the last wraps, those that are not retired still unwrap. They stand in the keyring.
master_key = Table(
    "master_key",
    metadata,
    Column("n", Integer, primary_key=True, autoincrement=False),
    Column("id", String, nullable=False),
    Column("since", Instant, nullable=False),
    Column("retired_at", Instant),
)

# 19: a decision on a read, kept for ever under a short speakable id; those on filing stand in the message's trail.
decision = Table(
    "decision",
    metadata,
    Column("id", String, primary_key=True),
    Column("at", Instant, nullable=False),
    Column("patient", Big, nullable=False),
    Column("subject", String, nullable=False),
    Column("action", String, nullable=False),
    Column("actor", Text, nullable=False),
    Column("allowed", Boolean, nullable=False),
    Column("rule", String, nullable=False),
    Column("rules_version", String, nullable=False),
    Column("matrix_version", String, nullable=False),
    Column("consent_version", Integer, nullable=False),
    Column("mapping_set", String),
    Column("decoy", Boolean, nullable=False),
    Column("inputs", Text, nullable=False),
    Index("ix_decision_patient", "patient", "at"),
    Index("ix_decision_subject", "subject"),
)

# 20: who looked, as the patient sees it; the names of that day, written with the read.
visit = Table(
    "visit",
    metadata,
    Column("id", Big, primary_key=True, autoincrement=False),
    Column("patient", Big, nullable=False),
    Column("actor_kind", String, nullable=False),
    Column("actor", String, nullable=False),
    Column("actor_snapshot", Text, nullable=False),
    Column("structure", String),
    Column("mode", String, nullable=False),
    Column("motive", String),
    Column("started", Instant, nullable=False),
    Column("ended", Instant),
    Column("listed", Integer, nullable=False),
    Column("read", Integer, nullable=False),
    Column("first_of_actor", Boolean, nullable=False),
    Column("shown_to", String, nullable=False),
    Index("ix_visit_patient", "patient", text("started DESC")),
    Index("ix_visit_actor", "patient", "actor"),
    Index("ix_visit_started", "started"),
)
access_line = Table(
    "access_line",
    metadata,
    Column("visit", Big, primary_key=True, autoincrement=False),
    Column("n", Integer, primary_key=True, autoincrement=False),
    Column("at", Instant, nullable=False),
    Column("act", String, nullable=False),
    Column("document_id", UuidText),
)

# The life-cycle of a space (`broker.accounts`): where it stands, and what is known of its holder beside the traits.
# `patient.account` is what the rules look at; `state` is the machine's own. Codes and card numbers as keyed digests.
account = Table(
    "account",
    metadata,
    Column("patient", Big, primary_key=True, autoincrement=False),
    Column("state", String, nullable=False),
    Column("since", Instant, nullable=False),
    Column("events", Integer, nullable=False, server_default="0"),
    Column("former", Boolean, nullable=False, server_default=text("false")),
    Column("attached", Boolean, nullable=False, server_default=text("false")),
    Column("died_at", Instant),
    Column("language", String),
    Column("mail", String),
    Column("code_number", Integer, nullable=False, server_default="0"),
    Column("code_digest", String),
    Column("code_until", Instant),
    Column("code_tries", SmallInteger, nullable=False, server_default="0"),
    Column("card_digest", String),
)

# Its history, append-only: each transition with who, how, why and by which text.
account_event = Table(
    "account_event",
    metadata,
    Column("patient", Big, primary_key=True, autoincrement=False),
    Column("n", Integer, primary_key=True, autoincrement=False),
    Column("transition", String, nullable=False),
    Column("from_state", String, nullable=False),
    Column("to_state", String, nullable=False),
    Column("actor_kind", String, nullable=False),
    Column("actor", String, nullable=False),
    Column("channel", String, nullable=False),
    Column("reason", String),
    Column("rule", String, nullable=False),
    Column("at", Instant, nullable=False),
)

# What will happen to a space by the clock: T3, T10, T12, T13, M5. One that is not due costs nothing.
account_due = Table(
    "account_due",
    metadata,
    Column("patient", Big, primary_key=True, autoincrement=False),
    Column("name", String, primary_key=True),
    Column("due_at", Instant, nullable=False),
    Index("ix_account_due", "due_at", "patient"),
)

# Who holds parental authority over whom, since when and until when.
account_holder = Table(
    "account_holder",
    metadata,
    Column("child", Big, primary_key=True, autoincrement=False),
    Column("parent", Big, primary_key=True, autoincrement=False),
    Column("since", Instant, primary_key=True),
    Column("until", Instant),
    Column("reason", String),
    Index("ix_account_holder_parent", "parent"),
)

# Messages whose documents wait for what becomes of a space (informed, suspended).
account_wait = Table(
    "account_wait",
    metadata,
    Column("patient", Big, primary_key=True, autoincrement=False),
    Column("seq", Big, primary_key=True, autoincrement=False),
    Column("since", Instant, nullable=False),
)

# One run of `carnet account migrate`, by the digest of its manifest: how far it got (lines), what it took.
account_migration = Table(
    "account_migration",
    metadata,
    Column("digest", String, primary_key=True),
    Column("started_at", Instant, nullable=False),
    Column("started_by", String, nullable=False),
    Column("position", Big, nullable=False),
    Column("taken", Big, nullable=False),
    Column("documents", Big, nullable=False),
    Column("left_out", Big, nullable=False),
    Column("ended_at", Instant),
)

# 21: what the holder is to be told, written with its cause; one row a (patient, kind, cause), `lines` of it. `id` is the
# digest of these three. Rendered when it is sent, so no text stands here.
notice = Table(
    "notice",
    metadata,
    Column("id", Big, primary_key=True, autoincrement=False),
    Column("patient", Big, nullable=False),
    Column("kind", String, nullable=False),
    Column("cause", String, nullable=False),
    Column("day", Integer, nullable=False),
    Column("lines", Integer, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("due_at", Instant, nullable=False),
    Column("state", String, nullable=False),
    Column("channel", String),
    Column("attempts", SmallInteger, nullable=False, server_default="0"),
    Column("claimed_at", Instant),
    Column("settled_at", Instant),
    Column("suppressed", String),
    Column("reason", String),
    Column("secret", Boolean, nullable=False, server_default=text("false")),
    Column("audit_n", Big),
    Index(
        "ix_notice_due",
        "due_at",
        "id",
        postgresql_where=text("state = 'due'"),
        sqlite_where=text("state = 'due'"),
    ),
    Index(
        "ix_notice_claimed",
        "claimed_at",
        postgresql_where=text("state = 'sending'"),
        sqlite_where=text("state = 'sending'"),
    ),
    Index("ix_notice_patient", "patient", text("created_at DESC")),
    Index(
        "ix_notice_access",
        "day",
        "patient",
        postgresql_where=text("kind IN ('first_access', 'access', 'emergency_access')"),
        sqlite_where=text("kind IN ('first_access', 'access', 'emergency_access')"),
    ),
)

# --- the trail --------------------------------------------------------------------------------------------------

# 25: AUD-03 as columns.
audit_entry = Table(
    "audit_entry",
    metadata,
    Column("n", Big, primary_key=True, autoincrement=False),
    Column("at", Instant, nullable=False),
    Column("act", String, nullable=False),
    Column("actor_kind", String, nullable=False),
    Column("actor", String, nullable=False),
    Column("actor_snapshot", Text),
    Column("mode", String),
    Column("motive", String),
    Column("patient", Big),
    Column("subject", String, nullable=False),
    Column("decision", String),
    Column("outcome", String),
    Column("software", String),
    Column("control_id", String),
    Column("details", Text),
    Index("ix_audit_subject", "subject"),
    Index(
        "ix_audit_patient",
        "patient",
        text("n DESC"),
        postgresql_where=text("actor_kind <> 'machine'"),
        sqlite_where=text("actor_kind <> 'machine'"),
    ),
    Index(
        "ix_audit_actor",
        "actor",
        text("n DESC"),
        postgresql_where=text("actor_kind <> 'machine'"),
        sqlite_where=text("actor_kind <> 'machine'"),
    ),
    Index(
        "ix_audit_act",
        "act",
        text("n DESC"),
        postgresql_where=text("actor_kind <> 'machine'"),
        sqlite_where=text("actor_kind <> 'machine'"),
    ),
)

# The hash chain: a segment seals the entries of (from_n, to_n]; `digests` holds 16 bytes per entry, in order of n,
# so that a verifier names the first bad entry; `head` is the hash of the previous head and this segment, and
# `signature` that of the head by the key `key_id` (none on seals of before there were keys).
audit_seal = Table(
    "audit_seal",
    metadata,
    Column("segment", Big, primary_key=True, autoincrement=False),
    Column("from_n", Big, nullable=False),
    Column("to_n", Big, nullable=False),
    Column("entries", Integer, nullable=False),
    Column("digests", LargeBinary, nullable=False),
    Column("previous_head", LargeBinary, nullable=False),
    Column("head", LargeBinary, nullable=False),
    Column("sealed_at", Instant, nullable=False),
    Column("key_id", String),
    Column("signature", LargeBinary),
)

# The public keys that sign the trail, in hexadecimal, each signed by the one before it (`endorsement`).
audit_key = Table(
    "audit_key",
    metadata,
    Column("id", String, primary_key=True),
    Column("public", String, nullable=False),
    Column("made_at", Big, nullable=False),
    Column("endorsed_by", String, nullable=False),
    Column("endorsement", String, nullable=False),
)

# How far the trail was sent to a receiver of audit messages: the last segment that it has whole.
audit_position = Table(
    "audit_position",
    metadata,
    Column("receiver", String, primary_key=True),
    Column("segment", Big, nullable=False),
    Column("sent_at", Instant, nullable=False),
)

PARTITIONED = {
    "message": "seq",
    "message_body": "seq",
    "control": "seq",
    "business_key": "seq",
    "delivery": "id",
    "prepared": "delivery_id",
    "attempt": "delivery_id",
    "correlation": "delivery_id",
    "expectation": "delivery_id",
    "audit_entry": "n",
}
"""Table and the column whose high bits hold its month."""

KEPT = frozenset({"audit_entry"})
"""Of these the tables whose partitions are never dropped: the trail outlives the records it tells of (RET-09)."""

for _name, _column in PARTITIONED.items():
    metadata.tables[_name].dialect_options["postgresql"]["partition_by"] = f"RANGE ({_column})"
