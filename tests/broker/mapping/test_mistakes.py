"""Each planted mistake is told at its place with what was probably meant; one golden text holds all of it."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from mistakes import MISTAKES, Mistake

from broker.mapping.catalogue import examine

GOLDEN = Path(__file__).parent / "golden" / "mistakes.txt"
PROJECT = Path(__file__).resolve().parents[3]


def _told(folder: Path, mistake: Mistake) -> str:
    folder.mkdir(parents=True)
    for name, text in {"site.yaml": mistake.text, **mistake.files}.items():
        (folder / name).write_text(text, encoding="utf-8")
    problems = examine(folder).problems
    lines = [problems.render(problem) for problem in problems.found]
    return f"== {mistake.what}\n" + "\n".join(lines) + "\n"


def test_fifty_mistakes_are_told_as_people_read_them(tmp_path: Path) -> None:
    told = "\n".join(
        _told(tmp_path / str(number) / "set", mistake) for number, mistake in enumerate(MISTAKES)
    )
    if os.environ.get("CARNET_RENEW_GOLDENS") == "1":
        GOLDEN.write_text(told, encoding="utf-8")
    assert len(MISTAKES) >= 50
    assert told == GOLDEN.read_text(encoding="utf-8")


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.what)
def test_no_mistake_goes_unnoticed(tmp_path: Path, mistake: Mistake) -> None:
    assert "^" in _told(tmp_path / "set", mistake)


def test_every_code_has_its_paragraph_and_no_other_has_one() -> None:
    sources = "".join(
        path.read_text(encoding="utf-8")
        for path in sorted((PROJECT / "broker" / "mapping").glob("*.py"))
    )
    page = (PROJECT / "docs" / "reference" / "mapping-diagnostics.md").read_text(encoding="utf-8")

    explained = re.findall(r"^### ([EW]\d{3})\n\n\S", page, re.MULTILINE)

    assert explained == sorted(set(re.findall(r'"([EW]\d{3})"', sources)))
