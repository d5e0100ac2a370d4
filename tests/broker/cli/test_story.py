"""The story is true on both databases: told by the command, through the real API, and shown by every command it names."""

from __future__ import annotations

import gc
import re
import shlex
import warnings
from pathlib import Path

import pytest

from tests.broker.cli import command

CHAPTERS = 11


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_the_story_is_as_promised_and_each_command_it_names_shows_it(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    folder = tmp_path / "story"
    database = request.getfixturevalue("empty_postgres_url") if kind == "postgresql" else ""

    told = carnet(
        "demo", "--story", "--check", "--json", "--data", str(folder), "--database", database
    )

    assert told.code in (0, 1), told.err
    (said,) = told.lines
    assert said["faults"] == []
    assert (told.code, said["good"], len(said["chapters"])) == (0, True, CHAPTERS)
    config = ("--config", str(folder / "carnet.toml"))
    for chapter in said["chapters"]:
        assert chapter["said"]
        for look in chapter["looks"]:
            shown = carnet(*shlex.split(look["command"]), *config)
            assert shown.code == look["exit"], (look["command"], shown.out, shown.err)
            assert shown.out
    _the_operator_is_told_why(said["chapters"], config)
    _notices_name_no_document(folder)
    again = carnet("demo", "--story", "--check", "--data", str(folder), "--database", database)
    assert again.code == 2
    assert "told there already" in again.err


def carnet(*arguments: str) -> command.Result:
    """A command of its own process ends with its connections; here they are closed before the next."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        done = command.carnet(*arguments)
        gc.collect()
    return done


def _the_operator_is_told_why(
    chapters: list[dict[str, list[dict[str, str]]]], config: tuple[str, str]
) -> None:
    looks = [look["command"] for chapter in chapters for look in chapter["looks"]]
    why = [carnet(*shlex.split(one), *config).out for one in looks if one.startswith("decide")]

    assert [re.search(r"by rule (\S+)", one)[1] for one in why] == [  # type: ignore[index]
        "MAT-03", "MAT-08", "MAT-03", "ACC-05",
    ]  # fmt: skip


def _notices_name_no_document(folder: Path) -> None:
    mails = [path.read_text() for path in (folder / "mails").iterdir()]
    (secure,) = [path.read_text() for path in (folder / "mssante").iterdir()]

    assert len(mails) >= 6
    for mail in mails:
        assert "GENÊT" not in mail
        assert "11490-0" not in mail
    assert "Élodie" in secure
    assert "médecin traitant" in secure
