"""F13, measured: a patient whose messages fail for ever costs the other patients of the destination nearly nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import quantiles

import pytest
from sqlalchemy import text

from broker.database.engine import reading
from tests.broker import ledger
from tests.broker.partner import Partner
from tests.broker.post import Post, mllp, opened

MESSAGES = 10_000
PATIENTS = 1_000
STUCK = PATIENTS + 1
MOST = 1.5


@contextmanager
def posted(database_url: str, folder: Path, partner: Partner) -> Iterator[Post]:
    engine = ledger.new(database_url)
    with opened(engine, folder) as post:
        yield post
    engine.dispose()


def p99(post: Post, partner: Partner, *, with_stuck: bool) -> float:
    """Seconds from owed to answered that one in a hundred of the others' deliveries exceeds."""
    ids = [f"M{n}" for n in range(MESSAGES)]
    lanes = [n % PATIENTS + 1 for n in range(MESSAGES)]
    stuck = ["stuck"] * with_stuck
    post.owe([*stuck, *ids], [STUCK] * with_stuck + lanes)
    with post.running(post.courier(mllp(partner.port), is_idempotent=True)):
        post.until(lambda: _sent(post) == MESSAGES, seconds=300)
    with reading(post.engine) as connection:
        rows = connection.execute(
            text(
                "SELECT a.ended_at - d.created_at AS took FROM delivery d JOIN attempt a ON a.delivery_id = d.id "
                "WHERE d.state = 'sent' AND a.outcome = 'sent'"
            )
        )
        took = [float(row.took) for row in rows]
    assert len(took) == MESSAGES
    return quantiles(took, n=100)[-1] / 1e6


def _sent(post: Post) -> int:
    with reading(post.engine) as connection:
        found = connection.execute(text("SELECT count(*) FROM delivery WHERE state = 'sent'"))
        return int(found.scalar_one())


@pytest.mark.bench
@pytest.mark.timeout(700)
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_f13_the_others_p99_is_within_half_as_much_again(
    database: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    partner = Partner(lambda control_id, _message: None if control_id == "stuck" else "AA")
    urls = [f"sqlite:///{tmp_path}/{name}.db" for name in ("without", "with")]
    if database == "postgresql":
        urls = [request.getfixturevalue(name) for name in ("postgres_url", "postgres_module_url")]
    with posted(urls[0], tmp_path / "without", partner) as post:
        without = p99(post, partner, with_stuck=False)
    with posted(urls[1], tmp_path / "with", partner) as post:
        beside = p99(post, partner, with_stuck=True)
        tries = len(post.attempts()["stuck"])
    partner.close()

    print(f"p99 {without:.2f} s without, {beside:.2f} s beside a stuck patient tried {tries} times")
    assert tries > 1, "it is tried again while the others flow"
    assert beside < without * MOST
