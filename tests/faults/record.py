"""What stands in the records after a fault, read straight from the database: the tests' own eyes, not the product's."""

from __future__ import annotations

from collections import defaultdict

from sqlalchemy import create_engine, text


def filed_by_control_id(database_url: str) -> dict[str, int]:
    """Documents filed for each control id."""
    engine = create_engine(database_url)
    with engine.connect() as connection:
        rows = connection.execute(
            text(
                "SELECT m.control_id, count(d.id) AS n FROM message m "
                "LEFT JOIN document d ON d.message_seq = m.seq GROUP BY m.seq, m.control_id"
            )
        ).all()
    engine.dispose()
    found: dict[str, int] = defaultdict(int)
    for row in rows:
        found[row.control_id] += row.n
    return dict(found)


def filing_order(database_url: str) -> dict[str, list[int]]:
    """For each patient of an A08 sequence, the counters of its messages in the order they were filed.

    The control id of a sequence is `<run>P<patient>N<count>`; the order is that of the audit entries.
    """
    engine = create_engine(database_url)
    with engine.connect() as connection:
        rows = connection.execute(
            text("SELECT control_id FROM audit_entry WHERE act = 'filed' ORDER BY n")
        ).all()
    engine.dispose()
    order: dict[str, list[int]] = defaultdict(list)
    for row in rows:
        patient, _, count = row.control_id.rpartition("N")
        order[patient].append(int(count))
    return dict(order)
