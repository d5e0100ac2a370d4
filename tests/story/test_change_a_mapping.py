"""A site changes its mapping while messages flow: seen before it is used, taken up whole, every document says by which."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import text

from broker import at_rest
from broker.cli import setup
from broker.database.engine import open_engine, reading
from broker.mapping import catalogue
from broker.records import payloads
from tests.faults import load
from tests.story.site import PROJECT, Site

MESSAGES = 8_000
CONNECTIONS = 64
_SITE = """mapping: sites/mine/adt
version: {version}
language: 1
from: hl7v2
extends:
  - ../../hl7v2/fr/adt.yaml
applies_when: MSH-9.1 = 'ADT' and MSH-3.1 = 'CHARGE' and PID is present
documents:
  - name: patient
    fields:
      title: = {word}
      comments: = {word}
      language: = {word}
"""


def _write(mappings: Path, version: str, word: str) -> None:
    path = mappings / "sites" / "mine" / "adt.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_SITE.format(version=version, word=word), encoding="utf-8")


@pytest.mark.parametrize("site", ["embedded", pytest.param("services", marks=pytest.mark.drill)], indirect=True)  # fmt: skip
@pytest.mark.timeout(300)
def test_a_mapping_changes_while_64_connections_send(site: Site, tmp_path: Path) -> None:
    mappings = tmp_path / "mappings"
    shutil.copytree(PROJECT / "mappings", mappings)
    _write(mappings, "1.0.0", "first")
    site.write(f'[mappings]\nfolders = ["{mappings}"]\n')
    before = catalogue.load(mappings).hash
    with site.serving() as running:
        sending = load.start(
            site.mllp, tmp_path / "acknowledged", messages=MESSAGES, connections=CONNECTIONS
        )
        _await(lambda: sending.acknowledged() > MESSAGES // 4)

        _write(mappings, "1.1.0", "second")
        code, kinds = site.carnet("mapping", "diff", "--ledger", "200")
        assert code == 1
        assert {one["path"] for one in kinds} == {
            f"documents.{name}" for name in ("title", "comments", "language")
        }
        assert {one["messages"] for one in kinds} == {200}
        code, (done,) = site.carnet("mapping", "activate")
        assert code == 0
        assert (done["before"], done["changed"]) == (before, True)

        sent = [sending.finish()]
        total = MESSAGES
        deadline = time.monotonic() + 60
        while "second" not in {made[0] for made in _documents(site)}:
            # All came before the workers looked which set is active: a few more.
            assert time.monotonic() < deadline
            few = load.start(
                site.mllp, tmp_path / f"{total}", messages=CONNECTIONS, connections=CONNECTIONS
            )
            sent.append(few.finish())
            total += CONNECTIONS
            site.await_settled(total, seconds=150)
        site.await_settled(total, seconds=150)
        assert sum(figures["missing"] for figures, _ in sent) == 0
        assert sum(len(one) for _, acknowledged in sent for one in acknowledged.values()) == total
        assert running.stop() == 0

    made = Counter(_documents(site))
    assert set(made) == {
        ("first", "first", "first", "1.0.0", before),
        ("second", "second", "second", "1.1.0", done["hash"]),
    }
    assert sum(made.values()) == total
    assert site.carnet("reconcile")[0] == 0


def _documents(site: Site) -> list[tuple[str, str, str, str, str]]:
    """(title, comments, language, version, set) of every document in the records."""
    engine = open_engine(site.database_url)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SITE_DATABASE", site.database_url)
        patch.setenv("SITE_QUEUE", site.queue_url)
        at_rest.attach(engine, setup.read_settings(site.config))
    with reading(engine) as connection:
        names = connection.execute(text("SELECT id FROM document_payload")).scalars().all()
        found_payloads = payloads.read(connection, [str(name) for name in names])
    engine.dispose()
    found = []
    for payload in found_payloads.values():
        one = msgspec.json.decode(payload)
        found.append(
            (
                one["title"],
                one["comments"],
                one["language"],
                one["mapping"]["version"],
                one["mapping"]["set"],
            )
        )
    return found


def _await(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)
