"""Services for tests: RabbitMQ and PostgreSQL that `scripts/test` started, each test kept apart on them.

Without CARNET_TEST_AMQP_URL or CARNET_TEST_DATABASE_URL a test that needs one is skipped with that reason; under
`scripts/test` (CARNET_TEST_STRICT=1) it fails instead: nothing may be missing there.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from sqlalchemy.engine import URL, make_url

from broker import memory
from broker.database import migrate
from broker.database.engine import open_engine
from broker.mapping import catalogue

PROJECT = Path(__file__).resolve().parent.parent


RECORD = (
    "web/", "broker/accounts/", "broker/test_account", "broker/records/test_account", "broker/test_notice",
    "broker/records/test_notices", "broker/test_unmerge", "broker/test_identifying", "broker/test_moving", "broker/test_merged_record",
    "attacks/test_record_api", "faults/test_f20", "faults/test_f28_signed", "faults/test_f31", "broker/audit/test_atna",
    "broker/rules/test_random_histories", "broker/cli/test_consent", "broker/cli/test_patient_identity", "broker/cli/test_story",
    "broker/test_encryption", "broker/test_rules_by_message", "broker/cli/test_encryption",
)  # fmt: skip
"""Tests of the record, its spaces and its API: a suite of its own, so that the usual one stays short."""


LONG = (
    "faults/",
    "story/",
    "test_tutorial",
    "test_canary",
    "broker/cli/test_demo",
    "broker/drill/",
)
"""Where the tests that run a whole broker are."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long tests begin, on each process."""
    places = [str(item.path.relative_to(PROJECT / "tests")) for item in items]
    long = [one for one, place in zip(items, places, strict=True) if place.startswith(LONG)]
    short = [one for one, place in zip(items, places, strict=True) if not place.startswith(LONG)]
    # Each process of xdist takes an equal run of them at first, then the end of what others have left.
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    size = -(-len(short) // processes)
    items[:] = [
        one
        for n in range(processes)
        for one in (*long[n::processes], *short[n * size : (n + 1) * size])
    ]
    for item in items:
        if str(item.path.relative_to(PROJECT / "tests")).startswith(RECORD):
            item.add_marker(pytest.mark.record)


@pytest.fixture(scope="session", autouse=True)
def sets_compiled_once() -> Iterator[None]:
    """Compile a mapping set once for the whole run: it never changes, and a process of Carnet loads it once too."""
    memory.settled()  # nor does the collector walk thousands of tests behind each of them
    compile_set = catalogue.examine
    kept: OrderedDict[tuple[object, ...], catalogue.Examined] = OrderedDict()

    def examine(folder: Path | Iterable[Path], *, whole: bool = True) -> catalogue.Examined:
        roots = [folder] if isinstance(folder, Path) else list(folder)
        files = sorted(path for root in roots for path in root.rglob("*") if path.is_file())
        key = (Path.cwd(), whole, *roots, *((path, path.read_bytes()) for path in files))
        if key not in kept:
            kept[key] = compile_set(roots, whole=whole)
        kept.move_to_end(key)
        if len(kept) > 8:
            kept.popitem(last=False)
        return kept[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(catalogue, "examine", examine)
        yield


@pytest.fixture(scope="session")
def amqp_url() -> str:
    """A RabbitMQ for all tests; keep apart by `QueueOptions.prefix` (see `queue_prefix`)."""
    return _service("CARNET_TEST_AMQP_URL", "RabbitMQ")


@pytest.fixture(scope="session")
def postgres_server() -> str:
    """A PostgreSQL where databases may be created; tests want `postgres_url`."""
    return _service("CARNET_TEST_DATABASE_URL", "PostgreSQL")


@pytest.fixture(scope="session")
def postgres_template(postgres_server: str) -> Iterator[str]:
    """The name of a database that is set up and holds nothing: a copy costs a tenth of all migrations."""
    with _fresh_database(postgres_server) as url:
        engine = open_engine(url)
        migrate.upgrade(engine, datetime.now(UTC))
        engine.dispose()
        yield str(make_url(url).database)


@pytest.fixture
def empty_postgres_url(postgres_server: str) -> Iterator[str]:
    """A database of this test's own that was never set up, dropped afterwards."""
    with _fresh_database(postgres_server) as url:
        yield url


@pytest.fixture
def postgres_url(postgres_server: str, postgres_template: str) -> Iterator[str]:
    """A database of this test's own, set up, without a message in it, dropped afterwards."""
    with _fresh_database(postgres_server, postgres_template) as url:
        yield url


@pytest.fixture
def other_postgres_url(postgres_server: str, postgres_template: str) -> Iterator[str]:
    """A second database of this test's own, to compare with."""
    with _fresh_database(postgres_server, postgres_template) as url:
        yield url


@pytest.fixture(scope="module")
def postgres_module_url(postgres_server: str, postgres_template: str) -> Iterator[str]:
    """A database of this module's own, dropped afterwards."""
    with _fresh_database(postgres_server, postgres_template) as url:
        yield url


@pytest.fixture
def queue_prefix() -> str:
    """A prefix that no other test uses."""
    return f"test-{secrets.token_hex(6)}"


@dataclass(frozen=True, slots=True)
class RabbitNode:
    """A RabbitMQ node of `scripts/services`, to stop and start under use."""

    folder: Path
    url: str

    def stop(self, *, kill: bool = False) -> None:
        _services("rabbitmq-stop", self.folder, *(["--kill"] if kill else []))

    def start(self) -> None:
        _services("rabbitmq-start", self.folder)


@pytest.fixture(scope="session")
def own_rabbit_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitNode]:
    """A node that only this process of pytest uses, started when a test first wants it."""
    if not os.environ.get("CARNET_TEST_SERVICES"):
        pytest.skip("scripts/services did not start the RabbitMQ at hand, so it may not be able to")
    folder = tmp_path_factory.mktemp("rabbitmq-of-its-own")
    exports = dict(re.findall(r"export (\w+)='(.*)'", _services("start", folder)))
    yield RabbitNode(folder, exports["CARNET_TEST_AMQP_URL"])
    _services("stop", folder)


@pytest.fixture
def rabbit_node(postgres_server: str, own_rabbit_node: RabbitNode) -> Iterator[RabbitNode]:
    """A RabbitMQ that the test may stop; running again when it ends."""
    yield own_rabbit_node
    own_rabbit_node.start()


def _services(verb: str, folder: Path, *options: str) -> str:
    """Run `scripts/services`, which starts a RabbitMQ where no address of one is given; returns what it printed."""
    command = [str(PROJECT / "scripts" / "services"), verb, str(folder), *options]
    around = {name: value for name, value in os.environ.items() if name != "CARNET_TEST_AMQP_URL"}
    done = subprocess.run(
        command, check=True, timeout=180, stdout=subprocess.PIPE, text=True, env=around
    )
    return done.stdout


def _service(variable: str, name: str) -> str:
    url = os.environ.get(variable)
    if url:
        return url
    message = f"{name} is needed: {variable} is not set (scripts/test starts one and sets it)"
    if os.environ.get("CARNET_TEST_STRICT") == "1":
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


@contextmanager
def _fresh_database(server: str, template: str = "template1") -> Iterator[str]:
    name = f"carnet_test_{secrets.token_hex(6)}"
    address = make_url(server)
    made, copied = sql.Identifier(name), sql.Identifier(template)
    _execute(address, sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(made, copied))
    try:
        yield address.set(database=name).render_as_string(hide_password=False)
    finally:
        if _is_thrown_away():
            _execute(address, sql.SQL(_LEAVE).format(sql.Literal(name)))
        else:
            _execute(address, sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


_LEAVE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = {}"
_ROOM = 20_000_000_000
"""Bytes: a database takes some 11 MB, and the whole suite makes some 600."""


def _is_thrown_away() -> bool:
    """Whether the server goes with its folder, and the disk has room until then: a drop has it write everything out."""
    folder = os.environ.get("CARNET_TEST_SERVICES")
    return folder is not None and shutil.disk_usage(folder).free > _ROOM


def _execute(address: URL, statement: sql.Composed) -> None:
    plain = address.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute(statement)
