"""The benchmark: messages accepted durably and filed per second, beside what the machine can do at all.

    python -m tests.benchmarks.run intake|end-to-end|delivery|quick|memory|stored|yardstick|floors   (by scripts/bench)

`intake` runs the gateway alone: accepted durably per second. `end-to-end` runs every role: filed per second is the
messages settled over the time from the first one sent to the last one filed. `delivery` does so with a partner to which
every message is sent on by MLLP and who answers each: delivered per second counts what was answered and noted until
the last message was filed. Each measurement follows a warm-up and
a run of the same client against the yardstick, so that the ratio has one machine, one client and one minute.
Exit code: 0 good; 1 an answer was bad or missing, or what was filed is not what was accepted; 2 it could not run.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.benchmarks import floors, report
from tests.benchmarks.deployment import (
    PROJECT,
    BenchError,
    Deployment,
    SetUp,
    deployed,
    processor_seconds,
    sent_on,
    set_ups,
    settled,
)

_COMMANDS = {"intake": "gateway", "end-to-end": "serve", "delivery": "serve"}
_FILED = ("end-to-end", "delivery")
_MEMORY_STEPS = 10
_FILL_STEPS = 40


class Bench:
    """One run of the benchmark: its options, its yardstick, and the rows and faults gathered so far."""

    def __init__(
        self, options: argparse.Namespace, folder: Path, yardstick: str, partner: str
    ) -> None:
        self.options = options
        self.folder = folder
        self.rows: list[dict[str, Any]] = []
        self.memory: list[dict[str, Any]] = []
        self.floors: dict[str, float] = {}
        self.faults: list[str] = []
        self._yardstick = yardstick
        self._partner = partner

    def measure(self, set_up: SetUp, figure: str) -> None:
        """All kinds and connections on one fresh deployment, in rounds, so that a slow minute meets every cell."""
        is_sent_on = figure == "delivery"
        with deployed(
            set_up,
            self.folder,
            _COMMANDS[figure],
            sent_on(self._partner) if is_sent_on else "",
            ["partner"] if is_sent_on else [],
        ) as carnet:
            for number in range(self.options.repeats):
                for kind in self.options.kinds:
                    for connections in self.options.connections:
                        report.progress(
                            f"{figure}, {set_up.name}, {kind}, {connections} connections, "
                            f"round {number + 1} of {self.options.repeats}"
                        )
                        row = self._cell(carnet, figure, kind, connections)
                        self.rows.append({"set_up": set_up.name, "figure": figure, **row})

    def compare_stored(self, set_up: SetUp) -> None:
        """The same load on an empty store and on one of `--messages`, round by round in turn."""
        with (
            deployed(set_up, self.folder, "serve") as full,
            deployed(set_up, self.folder, "serve") as empty,
        ):
            self._fill(full)
            for number in range(self.options.repeats):
                for connections in self.options.connections:
                    for figure, carnet in (("empty", empty), ("stored", full)):
                        report.progress(
                            f"{figure}, {set_up.name}, {connections} connections, "
                            f"round {number + 1} of {self.options.repeats}"
                        )
                        row = self._cell(carnet, "end-to-end", "adt", connections)
                        self.rows.append({"set_up": set_up.name, "figure": figure, **row})

    def _fill(self, carnet: Deployment) -> None:
        step = max(1, self.options.messages // _FILL_STEPS)
        while (stored := settled(carnet.fates())) < self.options.messages:
            report.progress(f"{stored:,} of {self.options.messages:,} stored")
            answers = self._load(carnet.address, "adt", 64, 0, step)["answers"]
            carnet.settle(stored + answers)

    def yardstick(self, kind: str, connections: int) -> dict[str, Any]:
        """The bare answerer, asked by the same client."""
        return self._load(self._yardstick, kind, connections, self.options.yardstick_seconds)

    def _cell(self, carnet: Deployment, figure: str, kind: str, connections: int) -> dict[str, Any]:
        is_filed = figure in _FILED
        self._send_and_settle(carnet, kind, connections, self.options.warm_up, figure)
        yardstick = self.yardstick(kind, connections)["answers_per_second"]
        before = processor_seconds(carnet)
        row = self._send_and_settle(carnet, kind, connections, self.options.seconds, figure)
        messages = max(1, row["answers"])
        row["cpu_us"] = {
            name: (seconds - before.get(name, 0.0)) / messages * 1e6
            for name, seconds in processor_seconds(carnet).items()
        } | {"load": row["cpu_us_per_message"]}
        row["yardstick"] = yardstick
        row["accepted_ratio"] = row["answers_per_second"] / yardstick
        if is_filed:
            row["filed_ratio"] = row["filed_per_second"] / yardstick
        if figure == "delivery":
            row["delivered_ratio"] = row["delivered_per_second"] / yardstick
        row["rss_mib"] = {
            used.name: used.rss_bytes / 2**20 for used in carnet.usage() if used.rss_bytes
        }
        return row

    def _send_and_settle(
        self, carnet: Deployment, kind: str, connections: int, seconds: float, figure: str
    ) -> dict[str, Any]:
        before, delivered = carnet.fates(), carnet.delivered()
        row = self._load(carnet.address, kind, connections, seconds)
        if figure in _FILED:
            last = carnet.settle(settled(before) + row["answers"])
            meanwhile = carnet.delivered() - delivered
        else:
            row["unpacked_per_second"] = row["answers"] / carnet.unpack()
        after = carnet.fates()
        grown = {
            fate: n - before.get(fate, 0) for fate, n in after.items() if n != before.get(fate, 0)
        }
        row["fates"] = grown
        where = f"{kind}, {connections} connections"
        if grown.get("received", 0) != row["answers"]:
            self.faults.append(
                f"{where}: {row['answers']} answered AA, {grown.get('received', 0)} in the ledger"
            )
        if figure == "delivery":
            all_of_them = carnet.deliver(delivered + row["answers"])
            row["delivered_per_second"] = meanwhile / (last - row["begun"])
            row["drain_seconds"] = all_of_them - last
        if figure in _FILED:
            row["filed_seconds"] = last - row["begun"]
            row["filed_per_second"] = grown.get("filed", 0) / row["filed_seconds"]
            if grown.get("filed", 0) != row["answers"]:
                self.faults.append(f"{where}: {row['answers']} answered AA, became {grown}")
        return row

    def _load(
        self, address: str, kind: str, connections: int, seconds: float, messages: int = 0
    ) -> dict[str, Any]:
        """Run the load generator in a process of its own. Raises: BenchError when it could send nothing."""
        command = [sys.executable, "-m", "tests.benchmarks.load", "--to", address, "--kind", kind]
        command += ["--connections", str(connections), "--seconds", str(seconds)]
        command += ["--messages", str(messages)]
        ended = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
        if ended.returncode not in (0, 1) or not ended.stdout:
            raise BenchError(f"the load generator failed: {ended.stderr.strip()}")
        figures: dict[str, Any] = json.loads(ended.stdout)
        if ended.returncode == 1:
            wrong = {key: figures[key] for key in ("bad", "refused", "missing", "lost_connections")}
            self.faults.append(f"{kind}, {connections} connections: {wrong}")
        return figures

    def watch_memory(self, set_up: SetUp) -> None:
        """Resident memory of each role while `--messages` ADT are filed over 64 connections, in ten steps."""
        step = self.options.messages // _MEMORY_STEPS
        with deployed(set_up, self.folder, "serve") as carnet:
            for number in range(_MEMORY_STEPS + 1):
                report.progress(f"memory, {set_up.name}, {number * step} messages")
                if number:
                    before = settled(carnet.fates())
                    answers = self._load(carnet.address, "adt", 64, 0, step)["answers"]
                    carnet.settle(before + answers)
                sizes = {used.name: used.rss_bytes / 2**20 for used in carnet.usage()}
                self.memory.append(
                    {"set_up": set_up.name, "messages": number * step, "rss_mib": sizes}
                )


@contextmanager
def answering() -> Iterator[str]:
    """A yardstick server; yields its address."""
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.yardstick"],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
    finally:
        server.terminate()
        server.wait()


def run(bench: Bench, chosen: Sequence[SetUp]) -> None:
    """Floors, then everything the chosen figure asks for."""
    figure = bench.options.figure
    if figure == "memory":
        for set_up in chosen:
            bench.watch_memory(set_up)
        bench.faults += report.grown(bench.memory)
        return
    if figure == "stored":
        for set_up in chosen:
            bench.compare_stored(set_up)
        return
    report.progress("floors of this machine")
    services = next((one for one in chosen if one.amqp_url), SetUp("sqlite"))
    bench.floors = floors.measure(bench.folder, services.database_url, services.amqp_url)
    if figure == "yardstick":
        for kind in bench.options.kinds:
            for connections in bench.options.connections:
                row = bench.yardstick(kind, connections)
                bench.rows.append({"set_up": "-", "figure": figure, **row})
    for name in _COMMANDS:
        if figure == name or (figure == "quick" and name != "delivery"):
            for set_up in chosen:
                bench.measure(set_up, name)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__.split("\n")[0])
    parser.add_argument(
        "figure",
        choices=(
            "intake",
            "end-to-end",
            "delivery",
            "quick",
            "memory",
            "stored",
            "yardstick",
            "floors",
        ),
    )
    parser.add_argument("--set-ups", nargs="+", choices=("sqlite", "postgres"))
    parser.add_argument("--kinds", nargs="+", choices=("adt", "oru"), default=["adt", "oru"])
    parser.add_argument("--connections", nargs="+", type=int)
    parser.add_argument("--repeats", type=int, help="rounds, of which the median counts")
    parser.add_argument("--seconds", type=float, default=5.0, help="of load in each measurement")
    parser.add_argument("--warm-up", type=float, default=1.5, help="seconds of load before each")
    parser.add_argument("--yardstick-seconds", type=float, default=2.0)
    parser.add_argument(
        "--messages", type=int, help="of the memory run (100,000), or stored (10^6)"
    )
    parser.add_argument("--folder", type=Path, help="on the disk to measure; default: TMPDIR")
    parser.add_argument("--json", type=Path, help="write everything measured to this file")
    options = parser.parse_args(arguments)
    is_quick, is_stored = options.figure == "quick", options.figure == "stored"
    options.messages = options.messages or (1_000_000 if is_stored else 100_000)
    few = {"quick": [64], "stored": [8, 64]}
    options.connections = options.connections or few.get(options.figure, [1, 8, 64])
    options.repeats = options.repeats or (1 if is_quick else 3)
    is_alone = is_quick or is_stored or options.figure == "memory"
    alone = ["postgres"] if is_alone else ["sqlite", "postgres"]
    options.set_ups = options.set_ups or alone
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    # An end from outside still stops and removes what was deployed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    begun = time.monotonic()
    try:
        chosen = set_ups(options.set_ups, os.environ)
        prefix = f"carnet-bench-{secrets.token_hex(3)}-"
        with (
            tempfile.TemporaryDirectory(prefix=prefix, dir=options.folder) as folder,
            answering() as yardstick,
            answering() as partner,
        ):
            bench = Bench(options, Path(folder), yardstick, partner)
            run(bench, chosen)
    except BenchError as error:
        report.say(f"bench: {error}")
        return 2
    summary = report.summary(bench.rows)
    report.show(summary, bench.floors, bench.memory, bench.faults, time.monotonic() - begun)
    if options.json:
        options.json.write_text(
            json.dumps(
                {
                    "machine": report.machine(),
                    "floors": bench.floors,
                    "summary": summary,
                    "rows": bench.rows,
                    "memory": bench.memory,
                    "faults": bench.faults,
                },
                indent=1,
            )
        )
    return 1 if bench.faults else 0


if __name__ == "__main__":
    sys.exit(main())
