"""Spaces: their life-cycle, its history and due dates, documents that wait, and the notices of the holder."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Boolean, Column, Integer, SmallInteger, String, text

from broker.database.types import Big, Instant

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "account",
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
    op.create_table(
        "account_event",
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
    op.create_table(
        "account_due",
        Column("patient", Big, primary_key=True, autoincrement=False),
        Column("name", String, primary_key=True),
        Column("due_at", Instant, nullable=False),
    )
    op.create_table(
        "account_holder",
        Column("child", Big, primary_key=True, autoincrement=False),
        Column("parent", Big, primary_key=True, autoincrement=False),
        Column("since", Instant, primary_key=True),
        Column("until", Instant),
        Column("reason", String),
    )
    op.create_table(
        "account_wait",
        Column("patient", Big, primary_key=True, autoincrement=False),
        Column("seq", Big, primary_key=True, autoincrement=False),
        Column("since", Instant, nullable=False),
    )
    op.create_table(
        "account_migration",
        Column("digest", String, primary_key=True),
        Column("started_at", Instant, nullable=False),
        Column("started_by", String, nullable=False),
        Column("position", Big, nullable=False),
        Column("taken", Big, nullable=False),
        Column("documents", Big, nullable=False),
        Column("left_out", Big, nullable=False),
        Column("ended_at", Instant),
    )
    op.create_table(
        "notice",
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
    )
    op.create_index("ix_account_due", "account_due", ["due_at", "patient"])
    op.create_index("ix_account_holder_parent", "account_holder", ["parent"])
    op.create_index(
        "ix_notice_due",
        "notice",
        ["due_at", "id"],
        postgresql_where=text("state = 'due'"),
        sqlite_where=text("state = 'due'"),
    )
    op.create_index(
        "ix_notice_claimed",
        "notice",
        ["claimed_at"],
        postgresql_where=text("state = 'sending'"),
        sqlite_where=text("state = 'sending'"),
    )
    op.create_index("ix_notice_patient", "notice", ["patient", text("created_at DESC")])
    op.create_index(
        "ix_notice_access",
        "notice",
        ["day", "patient"],
        postgresql_where=text("kind IN ('first_access', 'access', 'emergency_access')"),
        sqlite_where=text("kind IN ('first_access', 'access', 'emergency_access')"),
    )
    op.create_index("ix_visit_started", "visit", ["started"])


def downgrade() -> None:
    op.drop_index("ix_visit_started", "visit")
    for name in (
        "notice",
        "account_migration",
        "account_wait",
        "account_holder",
        "account_due",
        "account_event",
        "account",
    ):
        op.drop_table(name)
