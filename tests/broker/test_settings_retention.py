"""Retention settings: what they may not be, and what each refusal tells to do."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from broker import plugins
from broker.settings import Settings, SettingsError, load

DESTINATION = """
[destination.dmp]
adapter = "mllp"
host = "127.0.0.1"
port = 1
"""


def read(folder: Path, text: str) -> Settings:
    path = folder / "carnet.toml"
    path.write_text(text, encoding="utf-8")
    return load(
        path, adapters=plugins.adapters(), queues=plugins.queues(), environ={"K": "ab" * 32}
    )


def problem(folder: Path, text: str) -> str:
    with pytest.raises(SettingsError) as caught:
        read(folder, text)
    (one,) = caught.value.problems
    return str(one)


def test_nothing_is_pruned_unless_a_bound_is_set(tmp_path: Path) -> None:
    given = read(tmp_path, "").retention

    assert given.archives_after is None
    assert given.bounds == (timedelta(0), timedelta(0), timedelta(0))
    assert given.folder == tmp_path / "data" / "archive"


def test_months_and_years_are_at_their_longest(tmp_path: Path) -> None:
    given = read(tmp_path, '[retention]\nraw = "24 months"\nmessages = "5 years"\n').retention

    assert given.raw == timedelta(days=24 * 31)
    assert given.messages == timedelta(days=5 * 366)
    assert given.bounds == (given.raw, given.messages, given.messages)
    assert given.archives_after == given.raw


@pytest.mark.parametrize("name", ["messages", "raw", "deliveries"])
def test_a_bound_shorter_than_a_destination_tries_is_refused_with_the_way_out(
    tmp_path: Path, name: str
) -> None:
    text = f'[retention]\n{name} = "40d"\n{DESTINATION}retry = {{ max_age = "60d" }}\n'

    said = problem(tmp_path, text)

    assert f"retention.{name}: is shorter than destination.dmp.retry.max_age" in said
    assert f'Write retention.{name} = "60d" or longer' in said
    read(tmp_path, text.replace('"40d"', '"60d"'))


def test_a_destination_that_is_tried_for_ever_allows_no_bound(tmp_path: Path) -> None:
    text = f'[retention]\nraw = "2 years"\n{DESTINATION}retry = {{ max_age = "0s" }}\n'

    assert "destination.dmp, which is tried for ever" in problem(tmp_path, text)
    read(tmp_path, text.replace('"0s" }', '"0s", max_attempts = 9 }'))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('raw = "7d"', "retention.raw: must be 31d or more"),
        ('messages = "60d"\nraw = "90d"', "retention.raw: is longer than retention.messages"),
        ('messages = "60d"\ndeliveries = "90d"', "retention.deliveries: is longer than"),
        ('flow_minutes = "5m"', "retention.flow_minutes: must lie between 1h and 31d"),
        ('flow_quarters = "1h"', "retention.flow_quarters: must be 1d or more"),
        ('archive_key = "abcd"', "retention.archive_key: a secret must not stand in this file"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, text: str, said: str) -> None:
    assert said in problem(tmp_path, f"[retention]\n{text}\n")


def test_the_archives_key_comes_by_reference(tmp_path: Path) -> None:
    given = read(tmp_path, '[retention]\narchive_key = { env = "K" }\n')

    assert given.retention.archive_key == "ab" * 32
    assert "retention.archive_key" in given.secrets


@pytest.mark.parametrize("name", ["audit", "trail", "traces"])
@pytest.mark.parametrize("length", ["5 years", "100 years"])
def test_ret_09_no_setting_prunes_the_trail_and_who_writes_one_is_told(
    tmp_path: Path, name: str, length: str
) -> None:
    said = problem(tmp_path, f'[retention]\nmessages = "5 years"\n{name} = "{length}"\n')

    assert said == (
        f"carnet.toml:3: retention.{name}: is no setting: the trail is kept for the life of each record and at least "
        "ten years beyond (RET-09), so no length prunes it. Leave it out. "
        "`carnet audit export` takes a copy elsewhere."
    )
