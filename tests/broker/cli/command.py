"""Run the command as its user does, in this process: arguments in; exit code, standard output and error out."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Sequence
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer import rich_utils

from broker.cli import main

PROJECT = Path(__file__).resolve().parents[3]
SAMPLES = PROJECT / "samples"


@dataclass(frozen=True, slots=True)
class Result:
    """What a command left."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[Any]:
        """Standard output as JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]


def carnet(*arguments: str, cwd: Path = PROJECT, stdin: str = "") -> Result:
    """The real command line in this process, without colours and 100 columns wide."""
    kept = {"COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"}
    environ = {key: value for key, value in os.environ.items() if not key.startswith("CARNET_")}
    out, err = _stream(), _stream()
    with pytest.MonkeyPatch.context() as patch, chdir(cwd):
        for name in set(os.environ) - set(environ):
            patch.delenv(name)
        for name, value in kept.items():
            patch.setenv(name, value)
        # Typer asks FORCE_COLOR and GITHUB_ACTIONS once, at its import; a forced terminal that is dumb is 80 wide.
        patch.setattr(rich_utils, "FORCE_TERMINAL", False)
        patch.setattr(sys, "stdin", io.StringIO(stdin))
        with redirect_stdout(out), redirect_stderr(err):
            code = _run(arguments)
    return Result(code, _text(out), _text(err))


def _run(arguments: Sequence[str]) -> int:
    try:
        main(arguments)
    except SystemExit as ended:
        return int(ended.code or 0)
    raise AssertionError("the command did not end by itself")


def _stream() -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)


def _text(stream: io.TextIOWrapper) -> str:
    stream.flush()
    assert isinstance(stream.buffer, io.BytesIO)
    return stream.buffer.getvalue().decode("utf-8")


def same_as_golden(text: str, name: str) -> None:
    """Compare with a golden file; `CARNET_RENEW_GOLDENS=1` writes it, for review as a diff."""
    path = Path(__file__).parent / "golden" / name
    plain = "\n".join(line.rstrip() for line in text.splitlines()) + "\n"
    if os.environ.get("CARNET_RENEW_GOLDENS") == "1":
        path.parent.mkdir(exist_ok=True)
        path.write_text(plain, encoding="utf-8")
    assert plain == path.read_text(encoding="utf-8")
