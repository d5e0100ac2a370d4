"""The resilient load of the benchmarks, as a child process a fault test can watch."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.story.site import PROJECT


@dataclass
class Load:
    """A running load; `finish` gives its figures and what was answered AA, in order."""

    process: subprocess.Popen[str]
    out: Path

    def acknowledged(self) -> int:
        """How many messages were answered AA so far."""
        return len(self._lines())

    def finish(self, seconds: float = 240.0) -> tuple[dict[str, Any], dict[str, list[int]]]:
        """Wait for the end: the figures, and the counters acknowledged for each patient, in order."""
        printed, _ = self.process.communicate(timeout=seconds)
        counts: dict[str, list[int]] = defaultdict(list)
        for line in self._lines():
            _, patient, count = line.split("\t")
            counts[patient].append(int(count))
        return json.loads(printed.splitlines()[-1]), counts

    def _lines(self) -> list[str]:
        if not self.out.exists():
            return []
        return [line for line in self.out.read_text().split("\n")[:-1] if line]


def start(port: int, out: Path, *, messages: int, connections: int, kind: str = "adt") -> Load:
    """Begin to send; lost connections are made again and unanswered messages are sent again."""
    process = subprocess.Popen(
        [
            sys.executable, "-m", "tests.benchmarks.load", "--to", f"mllp://127.0.0.1:{port}",
            "--kind", kind, "--messages", str(messages), "--connections", str(connections),
            "--resilient", "--timeout", "120", "--out", str(out),
        ],
        cwd=PROJECT, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    return Load(process, out)
