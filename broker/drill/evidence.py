"""Gathers what a drill is judged by, once its broker is gone: rows, arrivals, and the checks the product has itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from sqlalchemy import Engine

from broker import reconcile
from broker.audit import verify
from broker.database.engine import reading
from broker.drill import record
from broker.drill.partner import Partner
from broker.drill.proof import Facts, parts
from broker.drill.traffic import Traffic
from broker.records import messages_reading
from broker.unpacking import unpack

ZONE = ZoneInfo("UTC")
"""Of the drill's days: the site's settings say the same."""


def gather(
    engine: Engine,
    traffic: Traffic,
    partners: Mapping[str, Partner],
    kills: Mapping[str, int],
    undrained: Sequence[str],
) -> Facts:
    """Read everything back. Raises: TransientError when the database is away."""
    unpack(engine, "drill")
    received = record.received(engine)
    people = {parts(row.control_id)[0]: row.person for row in received if row.person is not None}
    with reading(engine) as connection:
        days = messages_reading.days(connection)
    verified = verify.verify(engine)
    return Facts(
        run=traffic.run,
        sent=traffic.patients,
        received=received,
        filed=record.filing_order(engine),
        deliveries=record.deliveries(engine),
        arrivals={name: tuple(partner.arrivals) for name, partner in partners.items()},
        streets=record.streets(engine, people),
        missed=[f"{name} was never reached" for name, n in kills.items() if not n],
        undrained=undrained,
        unreconciled=[
            f"{day}: {finding.check}: {finding.text}"
            for day in days
            for finding in reconcile.reconcile(
                engine, day, zone=ZONE, now=datetime.now(UTC)
            ).findings
        ],
        unverified=[] if verified.bad is None else [f"the first bad line is {verified.bad}"],
        days=len(days),
        segments=verified.segments,
        entries=verified.entries,
        kills=kills,
    )
