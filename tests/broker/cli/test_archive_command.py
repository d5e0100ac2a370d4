"""`carnet archive`, and what other commands say of messages that left the database for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from broker.archive.shelf import DATA, INDEX
from broker.database.engine import reading
from tests.broker.cli.command import Result, carnet
from tests.broker.test_retention import OCTOBER, Kept, opened

NAME = "2024-10-0001"


@pytest.fixture
def kept(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Kept]:
    """Two messages of October 2024, and settings that keep a year."""
    with opened(request, tmp_path, "sqlite") as made:
        made.take_in("A", "B", at=OCTOBER)
        made.owe("A")
        config = tmp_path / "carnet.toml"
        config.write_text(config.read_text() + '\n[retention]\nmessages = "1 year"\n')
        monkeypatch.setenv("HOUSE", f"sqlite:///{tmp_path}/carnet.db")
        monkeypatch.setenv("QUEUE", "embedded")
        yield made


def told(kept: Kept, *arguments: str) -> Result:
    return carnet(*arguments, "--config", str(kept.house.given.path))


def entries(kept: Kept, message_id: str, act: str) -> list[tuple[str, str]]:
    with reading(kept.house.engine) as connection:
        rows = connection.execute(
            text("SELECT actor, motive FROM audit_entry WHERE subject = :s AND act = :a"),
            {"s": message_id, "a": act},
        )
        return [(row.actor, row.motive) for row in rows]


def test_f37_the_command_archives_prunes_and_reads_back_with_a_trace_of_it(kept: Kept) -> None:
    ran = told(kept, "archive", "run", "--json")
    again = told(kept, "archive", "run", "--json")
    listed = told(kept, "archive", "list", "--json")
    read = told(
        kept, "archive", "read", NAME, kept.ids["A"], "--reveal", "--motive", "ticket 1",
        "--operator", "anna",
    )  # fmt: skip

    assert [sorted(line) for line in ran.lines] == [
        ["archived", "deliveries", "messages", "size"], ["pruned", "stage"],
    ]  # fmt: skip
    assert (again.code, again.out) == (0, "")
    assert [(one["name"], one["messages"], one["is_here"]) for one in listed.lines] == [(NAME, 2, True)]  # fmt: skip
    assert read.out.encode() == kept.bodies["A"]
    assert entries(kept, kept.ids["A"], "body_revealed") == [("anna", "ticket 1")]
    assert told(kept, "reconcile", "--day", "2024-10-15").code == 0


def test_bytes_of_an_archive_are_shown_to_nobody_without_a_motive(kept: Kept) -> None:
    told(kept, "archive", "run")

    result = told(kept, "archive", "read", NAME, kept.ids["A"], "--reveal")

    assert (result.code, result.out) == (2, "")


def test_a_message_is_shown_without_a_word_of_its_content(kept: Kept) -> None:
    told(kept, "archive", "run")

    for more in ((), ("--json",)):
        shown = told(kept, "archive", "read", NAME, kept.ids["A"], *more)

        assert shown.code == 0
        assert "partner" in shown.out
        assert not any(word in shown.out for word in ("EXEMPLE", "JEANNE", "MSA", "prepared A"))


def test_show_and_timeline_of_a_pruned_message_say_where_it_is(kept: Kept) -> None:
    seq = kept.seq("A")
    told(kept, "archive", "run")

    for command in ("show", "timeline"):
        for reference in (kept.ids["A"], str(seq)):
            result = told(kept, "messages", command, reference)

            assert result.code == 0
            assert f"carnet archive read {NAME} {kept.ids['A']}" in result.out


def test_find_knows_ids_control_ids_and_days(kept: Kept) -> None:
    told(kept, "archive", "run")

    by_id = told(kept, "archive", "find", kept.ids["B"], "--json")
    by_day = told(kept, "archive", "find", "--day", "2024-10-15", "--source", "ward", "--json")
    nothing = told(kept, "archive", "find", "--day", "2024-10-16")

    assert [line["id"] for line in by_id.lines] == [kept.ids["B"]]
    assert [line["id"] for line in by_day.lines] == [kept.ids["A"], kept.ids["B"]]
    assert nothing.code == 1


@pytest.mark.parametrize(("kind", "code"), [(DATA, "archive.altered"), (INDEX, "archive.altered")])
def test_verify_finds_a_bit_that_is_not_as_it_was_written(kept: Kept, kind: str, code: str) -> None:
    told(kept, "archive", "run")
    assert told(kept, "archive", "verify").code == 0
    path = kept.house.given.retention.folder / f"{NAME}{kind}"
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 1
    path.write_bytes(whole)

    result = told(kept, "archive", "verify", "--json")

    assert (result.code, [line["code"] for line in result.lines]) == (1, [code])


def test_an_archive_is_not_read_with_another_key(kept: Kept, tmp_path: Path) -> None:
    told(kept, "archive", "run")
    (tmp_path / "digest.key").write_text("00" * 32)

    result = told(kept, "archive", "read", NAME, kept.ids["A"], "--reveal", "--motive", "x")

    assert (result.code, result.out) == (2, "")
    assert "archive.key" in result.err
