"""The pages that are followed word for word: each file they show is written, each command run, each answer compared."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.broker.cli.command import carnet

PROJECT = Path(__file__).resolve().parent.parent
PAGES = (
    "docs/tutorial/first-mapping.md",
    "docs/how-to/new-laboratory.md",
    "docs/how-to/replay-messages.md",
    "docs/how-to/route-documents.md",
)
BLOCK = re.compile(r"([^\n]*)\n\n```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
FILE_NAME = re.compile(r"Write `([^`]+)`.*:$")
UNLIKE = (
    (r"\b[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f-]{21}\b", "ID"),
    (r"\b[0-9a-f]{12}\b", "SET"),
    (r"\b\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d:\d\d\S*)?", "DATE"),
    (r"\b\d+ (s|min) ago\b", "AGO"),
    (r"\b\d+ (mappings|tests|golden tests)\b", r"N \1"),
    (r"(\.yaml):\d+:\d+$", r"\1:PLACE"),
)
"""What differs from one installation, day and version of the mappings to the next."""
DEADLINE = 60.0


@dataclass(frozen=True)
class Step:
    """One file to write (`name`), or one command and the lines it answers."""

    text: str
    name: str = ""
    answer: tuple[str, ...] | None = None


def steps(page: Path) -> Iterator[Step]:
    """What a reader does, in order. Blocks of `console` without answers below a command say nothing of it."""
    for before, kind, block in BLOCK.findall(page.read_text(encoding="utf-8")):
        if kind != "console":
            named = FILE_NAME.search(before)
            assert named, f"{page.name}: which file is the block after '{before}'?"
            yield Step(block, name=named[1])
            continue
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, *answer = part.splitlines()
            yield Step(command, answer=tuple(answer) or None)


def alike(line: str) -> str:
    line = line.rstrip()
    for pattern, word in UNLIKE:
        line = re.sub(pattern, word, line)
    return " ".join(line.split())


def fits(shown: tuple[str, ...], said: str) -> bool:
    """Whether what was said is what the page shows; `…` alone on a line stands for any lines."""
    pattern = "".join(
        r"(?:.*\n)*" if line.strip() == "…" else re.escape(alike(line)) + r"\n"
        for line in shown
        if line.strip()
    )
    text = "".join(alike(line) + "\n" for line in said.splitlines() if line.strip())
    return re.fullmatch(pattern, text) is not None


class Reader:
    """Somebody who follows a page in an empty folder, on free ports."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.serving: subprocess.Popen[bytes] | None = None
        self.ports: dict[str, str] = {}
        script = folder.parent / "bin" / "carnet"
        script.parent.mkdir()
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m broker "$@"\n', encoding="utf-8")
        script.chmod(0o755)
        kept = {key: value for key, value in os.environ.items() if not key.startswith("CARNET_")}
        self.environ = kept | {
            "PATH": f"{script.parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(PROJECT), "NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "200",
        }  # fmt: skip

    def take(self, step: Step) -> None:
        if step.name:
            self._write(step)
        elif step.text.startswith("carnet serve"):
            self._serve()
        else:
            self._run(step)

    def stop(self) -> None:
        if self.serving is not None and self.serving.poll() is None:
            self.serving.send_signal(signal.SIGINT)
            self.serving.wait(timeout=DEADLINE)

    def _write(self, step: Step) -> None:
        text = step.text
        if step.name == "carnet.toml":
            text += '\n[telemetry]\nlisten = ""\n'
        (self.folder / step.name).write_text(self._here(text), encoding="utf-8")

    def _here(self, text: str) -> str:
        """The page's ports as ports that are free here, and its folder of Carnet as this one."""
        text = text.replace("/opt/carnet", str(PROJECT))
        for port in re.findall(r"(?:port = |127\.0\.0\.1:)(\d+)", text):
            text = text.replace(port, self.ports.setdefault(port, _free_port()))
        return text

    def _serve(self) -> None:
        log = self.folder.parent / "serve.log"
        with log.open("wb") as out:
            self.serving = subprocess.Popen(
                ["carnet", "serve"], cwd=self.folder, env=self.environ, stderr=out, stdout=out
            )
        end = time.monotonic() + DEADLINE
        while not all(map(_answers, self.ports.values())):
            assert time.monotonic() < end, log.read_text(encoding="utf-8")
            assert self.serving.poll() is None, log.read_text(encoding="utf-8")
            time.sleep(0.1)

    def _run(self, step: Step) -> None:
        """Run a command; one that looks is asked again until the workers have come so far."""
        end = time.monotonic() + DEADLINE
        while True:
            code, said = self._said(self._here(step.text))
            shown = tuple(map(self._here, step.answer)) if step.answer is not None else None
            if shown is None and code == 0:
                return
            if shown is not None and fits(shown, said):
                return
            looks = re.match(
                r"carnet (messages|codes list|mapping coverage|mapping sets|status)", step.text
            )
            if not looks or time.monotonic() > end:
                pytest.fail(f"$ {step.text}\nsaid ({code}):\n{said}")
            time.sleep(0.2)

    def _said(self, line: str) -> tuple[int, str]:
        """Exit code and all that is said. A command of `carnet` alone needs no shell, and no second interpreter."""
        if line.startswith("carnet ") and not re.search(r"[|><;&$]", line):
            result = carnet(*shlex.split(line)[1:], cwd=self.folder)
            return result.code, result.out + result.err
        ended = subprocess.run(
            ["sh", "-c", line],
            cwd=self.folder, env=self.environ, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        return ended.returncode, ended.stdout + ended.stderr


def _answers(port: str) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(port))) == 0


def _free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.skipif(shutil.which("sh") is None, reason="the pages are written for a shell")
def test_a_page_can_be_followed_word_for_word(page: str, tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    reader = Reader(folder)
    try:
        for step in steps(PROJECT / page):
            reader.take(step)
    finally:
        reader.stop()


def test_an_answer_that_differs_is_seen() -> None:
    assert fits(
        ("set 042e21271fa3 is active", "…", "1 places"), "set aaaaaaaaaaaa is active\n1 places\n"
    )
    assert not fits(("1 places",), "2 places\n")
    assert not fits(("…", "1 places"), "2 places\nset\n")
