"""Orders of a drill: repeatable by their seed, every point in turn, only where a process passes it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from broker.drill.orders import ALL_PROCESSES, carried_out, orders, passable, write
from broker.fault_points import POINTS, Order

PROCESSES = ("gateway-0", "worker-0", "worker-1", "courier-0", "scheduler-0")
EVERY = passable((), is_postgresql=True)


def test_the_same_seed_gives_the_same_orders_and_another_seed_others() -> None:
    assert orders(7, PROCESSES, EVERY, 50) == orders(7, PROCESSES, EVERY, 50)
    assert orders(7, PROCESSES, EVERY, 50) != orders(8, PROCESSES, EVERY, 50)


def test_a_process_passes_each_of_its_points_equally_often_and_no_other() -> None:
    given = orders(7, PROCESSES, EVERY, 60)

    for process, of in given.items():
        role = process.rpartition("-")[0]
        mine = {name for name, point in POINTS.items() if role in point.roles and point.is_drilled}
        counts = Counter(order.point for order in of)
        assert set(counts) == mine
        assert max(counts.values()) - min(counts.values()) <= 1


def test_an_order_stays_within_what_its_point_allows() -> None:
    for of in orders(7, PROCESSES, EVERY, 200).values():
        for order in of:
            point = POINTS[order.point]
            assert 1 <= order.passage <= point.passages
            assert (order.after_ms > 0) == (point.within_ms > 0)
            assert order.after_ms <= point.within_ms


def test_an_order_survives_its_file(tmp_path: Path) -> None:
    given = orders(7, PROCESSES, EVERY, 20)

    write(tmp_path, given)

    lines = (tmp_path / "worker-1.orders").read_text().splitlines()
    assert [Order.of(line) for line in lines] == given["worker-1"]


def test_kills_are_counted_by_process_and_point(tmp_path: Path) -> None:
    (tmp_path / "gateway-0.kills").write_text(
        "1.0 intake.read 1 0.0\n2.0 intake.written 3 0.0\n", "utf-8"
    )

    assert carried_out(tmp_path) == [("gateway-0", "intake.read"), ("gateway-0", "intake.written")]


def test_sqlite_passes_no_point_of_postgresql_and_a_wrong_name_is_said() -> None:
    embedded = passable((), is_postgresql=False)

    assert set(EVERY) - set(embedded) == {"unpack.written"}
    assert ALL_PROCESSES in embedded
    with pytest.raises(ValueError, match=r"no point 'intake\.red'"):
        passable(("intake.red",), is_postgresql=True)
