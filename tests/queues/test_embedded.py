"""What only the embedded queue meets: two processes on one file, a table dropped by hand, forged rows, time set back."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from broker.contracts import QueueOptions, Work
from broker.errors import SetupError, TransientError
from broker.values import Lane
from queues.embedded import PARKED, QUEUE
from queues.embedded_readers import is_gone, owner_name
from tests.queues.place import drain, eventually, ids_of, nothing, some, take

OPTIONS = QueueOptions(partitions=4)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "data" / "carnet.db"


def url_of(file: Path) -> str:
    return f"embedded+sqlite:///{file}"


def rows_of(file: Path, question: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(file, isolation_level=None)
    try:
        return connection.execute(question).fetchall()
    finally:
        connection.close()


def test_a_put_is_one_row_a_partition_and_a_settled_batch_leaves_none(file: Path) -> None:
    queue = QUEUE.open(url_of(file), OPTIONS)
    queue.put("inbound", some(200, lanes=40))
    assert rows_of(file, "SELECT count(*), sum(size) FROM carnet_queue") == [(4, 200)]

    drain(queue, 200)

    assert rows_of(file, "SELECT count(*) FROM carnet_queue") == [(0,)]
    queue.close()


def test_commits_are_on_the_disk_when_they_return(file: Path) -> None:
    queue = QUEUE.open(url_of(file), OPTIONS)
    queue.put("inbound", some(1))

    assert rows_of(file, "PRAGMA journal_mode") == [("wal",)]
    with queue._database._reads.connect() as connection:  # type: ignore[attr-defined]  # the setting is per connection
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == 2
    queue.close()


def test_many_writers_on_one_file_lose_nothing(file: Path) -> None:
    def write(first: int) -> None:
        queue = QUEUE.open(url_of(file), OPTIONS)
        for number in range(first, first + 50):
            queue.put("inbound", [Work(number, Lane(number))])
        queue.close()

    writers = [threading.Thread(target=write, args=(first,)) for first in (1, 101, 201, 301)]
    for writer in writers:
        writer.start()
    reader = QUEUE.open(url_of(file), OPTIONS)
    found = drain(reader, 200)
    for writer in writers:
        writer.join()

    assert len(found) == 200
    reader.close()


def test_f6_a_table_dropped_by_hand_is_made_again(file: Path) -> None:
    queue = QUEUE.open(url_of(file), OPTIONS)
    queue.put("inbound", some(5))
    drain(queue, 5)
    rows_of(file, "DROP TABLE carnet_queue")

    with pytest.raises(TransientError, match=r"queue\.unavailable"):
        queue.put("inbound", some(5))
    queue.put("inbound", some(5, first=50))

    assert sorted(drain(queue, 5)) == list(range(50, 55))
    queue.close()


def test_a13_a_garbled_row_is_parked_and_the_next_is_served(file: Path) -> None:
    queue = QUEUE.open(url_of(file), OPTIONS)
    queue.put("inbound", [Work(1, Lane(1))])
    rows_of(file, "UPDATE carnet_queue SET work = x'00ff'")
    queue.put("inbound", [Work(2, Lane(1))])

    found = drain(queue, 1)

    assert found == [2]
    assert rows_of(file, "SELECT partition, reason FROM carnet_queue") == [
        (PARKED, "queue.garbled")
    ]
    queue.close()


def test_parked_work_stays_in_the_table_with_its_reason(file: Path) -> None:
    queue = QUEUE.open(url_of(file), OPTIONS)
    queue.put("inbound", [Work(1, Lane(1))])

    take(queue).park([1], "internal")

    assert rows_of(file, "SELECT partition, reason FROM carnet_queue") == [(PARKED, "internal")]
    assert queue.depth("inbound") == 0
    queue.close()


def test_f9_work_delayed_before_the_clock_was_set_back_does_not_wait_for_it(file: Path) -> None:
    queue = QUEUE.open(url_of(file), OPTIONS)
    queue.put("inbound", [Work(1, Lane(1))])
    take(queue).again([1], timedelta(hours=1))
    assert nothing(queue)

    rows_of(file, "UPDATE carnet_queue SET visible_at = visible_at + 86400")

    assert ids_of(take(queue)) == [1]
    queue.close()


def test_f9_a_lease_written_before_the_clock_was_set_back_does_not_hold(file: Path) -> None:
    first = QUEUE.open(url_of(file), OPTIONS)
    assert nothing(first, seconds=0.1)
    first.put("inbound", some(8))
    rows_of(file, "UPDATE carnet_queue_reader SET until = until + 86400")
    second = QUEUE.open(url_of(file), OPTIONS)

    assert len(drain(second, 8)) == 8
    first.close()
    second.close()


def test_the_name_of_a_process_that_ended_is_known_to_be_gone() -> None:
    with subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from queues.embedded_readers import owner_name; print(owner_name())",
        ],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).resolve().parent.parent.parent,
    ) as other:
        assert other.stdout is not None
        name = other.stdout.readline().strip()
    place, _pid, started, nonce = owner_name().split("/")

    assert eventually(lambda: is_gone(name))
    assert not is_gone(owner_name())
    assert not is_gone(f"another-machine/{os.getpid()}/1/{nonce}")
    assert is_gone(f"{place}/{os.getpid()}/{int(started) + 1}/{nonce}")


@pytest.mark.parametrize(
    "url",
    [
        "embedded+sqlite://",
        "embedded+sqlite:///:memory:",
        "embedded+mysql://host/name",
        "embedded+",
    ],
)
def test_an_address_that_cannot_hold_a_queue_is_a_mistake_of_settings(url: str) -> None:
    with pytest.raises(SetupError, match=r"queue\.url"):
        QUEUE.open(url, OPTIONS)


def test_a_database_that_is_away_is_transient() -> None:
    queue = QUEUE.open("embedded+postgresql+psycopg://u:p@127.0.0.1:1/none", OPTIONS)

    with pytest.raises(TransientError, match=r"queue\.unavailable"):
        queue.put("inbound", some(1))

    queue.close()
