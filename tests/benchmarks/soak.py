"""A steady load for minutes to hours: does Carnet hold it, evenly, in how much of the machine, balanced at the end?

    python -m tests.benchmarks.soak --rate 200 --minutes 30 --outage 30 --outage-every 180 --png soak.png   (by scripts/bench)

The traffic of `carnet simulate` at a fixed rate: HL7v2 by MLLP, CDA and FHIR by HTTP, letters and reports of the size
hospitals send. Everything that came as HL7v2 goes on to one partner by MLLP, letters also to a second one, the rest to a
folder: about 1.2 deliveries a message. With `--outage` the first partner goes away again and again.
Once a second is noted what was sent, answered, filed and delivered, the latency of the answers, what waits, memory and
processor time. At the end all must be filed and delivered, latency and memory no higher than in the beginning.
Exit code: 0 good; 1 something did not hold; 2 it could not run.
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
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from broker import plugins, simulation
from broker.cli import sending
from broker.cli.simulate import paced
from tests.benchmarks import report
from tests.benchmarks.deployment import (
    PROJECT,
    BenchError,
    Deployment,
    SetUp,
    deployed,
    free_port,
    processor_seconds,
    set_ups,
    settled,
)
from tests.benchmarks.soak_plot import draw

MIX = {"adt": 0.36, "oru": 0.36, "mdm": 0.20, "cda": 0.05, "fhir": 0.03}
"""Shares of kinds at a nation's peak: 90 ADT/s beside some 160 documents/s, of which most are results of laboratories."""

_CONNECTIONS = 16
_LATENCY_GROWTH, _MEMORY_GROWTH, _MEMORY_MIB = 1.5, 1.05, 8.0

Sample = dict[str, Any]


class Partner:
    """Receives and answers by MLLP on one port, in a process of its own; goes away and comes back."""

    def __init__(self) -> None:
        self.port = free_port()
        self._process: subprocess.Popen[str] | None = None
        self.start()

    @property
    def is_there(self) -> bool:
        return self._process is not None

    def start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.yardstick", "--listen", f"127.0.0.1:{self.port}"],
            cwd=PROJECT, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        self._process.stdout.readline()

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class Soak:
    """One run: its load, and what was seen every second."""

    def __init__(self, options: argparse.Namespace, carnet: Deployment, first: Partner) -> None:
        self.options = options
        self.samples: list[Sample] = []
        self.outcomes: Counter[str] = Counter()
        self._carnet = carnet
        self._first = first
        self._took: list[float] = []
        self._over = threading.Event()

    def run(self, mllp: str, http: str) -> None:
        """Send the whole load while the second is watched and the partner comes and goes."""
        threads = [threading.Thread(target=one) for one in (self._watch, self._come_and_go)]
        for thread in threads:
            thread.start()
        try:
            self._send(mllp, http)
        finally:
            self._over.set()
            for thread in threads:
                thread.join()
            if not self._first.is_there:
                self._first.start()

    def _send(self, mllp: str, http: str) -> None:
        total = round(self.options.rate * self.options.minutes * 60)
        clients = [_Both(mllp, http) for _ in range(_CONNECTIONS)]
        traffic = simulation.messages(
            mix=MIX,
            patients=self.options.patients,
            run=secrets.token_hex(3),
            document_bytes=self.options.document_kb * 1000,
        )
        for number, (answer, elapsed) in enumerate(
            paced(traffic, clients, total, self.options.rate), 1
        ):
            self.outcomes[answer.outcome] += 1
            self._took.append(elapsed)
            if number % max(1, total // 20) == 0:
                report.progress(f"{number:,} of {total:,} answered, {dict(self.outcomes)}")

    def _come_and_go(self) -> None:
        if not self.options.outage:
            return
        while not self._over.wait(self.options.outage_every):
            self._first.stop()
            self._over.wait(self.options.outage)
            self._first.start()

    def _watch(self) -> None:
        begun = time.monotonic()
        cpu, machine, load = (
            processor_seconds(self._carnet),
            _machine_seconds(),
            time.process_time(),
        )
        done = {"answered": 0, "filed": 0, "delivered": 0}
        last = begun
        while not self._over.wait(1.0):
            now = time.monotonic()
            fates = self._carnet.fates()
            counted = {
                "answered": sum(self.outcomes.values()),
                "filed": settled(fates),
                "delivered": self._carnet.delivered(),
            }
            took, self._took = sorted(self._took), []
            used, busy = processor_seconds(self._carnet), _machine_seconds()
            sending = time.process_time()
            self.samples.append(
                {
                    "at": now - begun,
                    **{f"{name}_per_second": (counted[name] - done[name]) / (now - last) for name in counted},
                    "p50_ms": took[len(took) // 2] * 1000 if took else None,
                    "p99_ms": took[min(len(took) - 1, len(took) * 99 // 100)] * 1000 if took else None,
                    "unfiled": fates.get("received", 0) - counted["filed"],
                    "undelivered": self._carnet.owed(),
                    "partner": self._first.is_there,
                    "rss_mib": {one.name: one.rss_bytes / 2**20 for one in self._carnet.usage()},
                    "cpu_seconds": {name: used[name] - cpu.get(name, 0.0) for name in used}
                    | {"load": sending - load},
                    "carnet_share": sum(used.values()) - sum(cpu.values()),
                    "machine_share": busy - machine,
                }
            )  # fmt: skip
            seconds = (now - last) * (os.cpu_count() or 1)
            for name in ("carnet_share", "machine_share"):
                self.samples[-1][name] /= seconds
            cpu, machine, load, done, last = used, busy, sending, counted, now


class _Both:
    """A client that sends HL7v2 by MLLP and everything else by HTTP."""

    def __init__(self, mllp: str, http: str) -> None:
        adapters = plugins.adapters()
        self._mllp = sending.destination(mllp, adapters)
        self._http = sending.destination(http, adapters)

    def deliver(self, envelope: Any) -> Any:
        is_hl7v2 = envelope.media == simulation.HL7V2
        return (self._mllp if is_hl7v2 else self._http).deliver(envelope)

    def close(self) -> None:
        self._mllp.close()
        self._http.close()


def faults(samples: Sequence[Sample], *, share: float, is_interrupted: bool) -> list[str]:
    """What did not hold over the samples: even latency, even memory, the share of the machine."""
    found = []
    tenth = max(1, len(samples) // 10)
    early, late = samples[tenth : 3 * tenth], samples[-2 * tenth :]
    before, after = (
        median(one["p99_ms"] for one in part if one["p99_ms"]) for part in (early, late)
    )
    if after > before * _LATENCY_GROWTH and after > 10:
        found.append(f"the 99th percentile grew from {before:.1f} to {after:.1f} ms")
    for role in late[-1]["rss_mib"]:
        first, last = (
            median(one["rss_mib"].get(role, 0.0) for one in part) for part in (early, late)
        )
        if last > first * _MEMORY_GROWTH + _MEMORY_MIB:
            found.append(f"{role} grew from {first:.0f} to {last:.0f} MiB")
    used = sum(one["carnet_share"] for one in samples) / len(samples)
    if share and used > share:
        found.append(
            f"Carnet and its services took {used:.0%} of the machine, more than {share:.0%}"
        )
    if not is_interrupted and samples[-1]["undelivered"] > 10 * samples[-1]["answered_per_second"]:
        found.append(f"{samples[-1]['undelivered']} deliveries wait at the end")
    return found


def summary(samples: Sequence[Sample]) -> dict[str, Any]:
    """The run in a few figures."""
    steady = samples[len(samples) // 10 :]

    def middle(name: str) -> float:
        return float(median(one[name] for one in steady if one[name] is not None))

    answered = sum(
        (one["at"] - before["at"]) * one["answered_per_second"] for before, one in pairwise(steady)
    )

    def spent(part: str) -> float:
        return float(sum(one["cpu_seconds"].get(part, 0.0) for one in steady[1:]))

    return {
        "seconds": round(samples[-1]["at"]),
        "answered_per_second": round(middle("answered_per_second"), 1),
        "filed_per_second": round(sum(o["filed_per_second"] for o in steady) / len(steady), 1),
        "delivered_per_second": round(
            sum(o["delivered_per_second"] for o in steady) / len(steady), 1
        ),
        "p50_ms": round(middle("p50_ms"), 2),
        "p99_ms": round(middle("p99_ms"), 2),
        "most_unfiled": max(one["unfiled"] for one in samples),
        "most_undelivered": max(one["undelivered"] for one in samples),
        "carnet_share": round(sum(o["carnet_share"] for o in steady) / len(steady), 3),
        "machine_share": round(sum(o["machine_share"] for o in steady) / len(steady), 3),
        "cpu_us_per_message": {
            part: round(spent(part) / answered * 1e6) for part in samples[-1]["cpu_seconds"]
        },
        "rss_mib": {role: round(mib) for role, mib in samples[-1]["rss_mib"].items()},
    }


@contextmanager
def _partners() -> Iterator[tuple[Partner, Partner]]:
    first, second = Partner(), Partner()
    try:
        yield first, second
    finally:
        first.stop()
        second.stop()


def _settings(portal: int, first: Partner, second: Partner, archive: Path) -> str:
    return f"""
[source.portal]
adapter = "http"
port = {portal}
allow_anonymous = true

[destination.first]
adapter = "mllp"
host = "127.0.0.1"
port = {first.port}
idempotent = true

[destination.second]
adapter = "mllp"
host = "127.0.0.1"
port = {second.port}

[destination.archive]
adapter = "file_drop"
folder = "{archive}"

[[route]]
name = "everything by HL7v2"
to = ["first"]
when = {{ source = ["load"] }}

[[route]]
name = "letters"
to = ["second"]
when = {{ source = ["load"], kind = ["clinical_document"] }}

[[route]]
name = "the rest"
to = ["archive"]
when = {{ source = ["portal"] }}
"""


def _machine_seconds() -> float:
    """Processor seconds that all cores were busy since the machine started."""
    fields = [int(one) for one in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    idle = fields[3] + fields[4]
    return (sum(fields[:8]) - idle) / os.sysconf("SC_CLK_TCK")


def soak(options: argparse.Namespace, set_up: SetUp, folder: Path) -> tuple[Soak, list[str]]:
    """Run the whole soak; returns it and what did not hold."""
    archive, portal = folder / "archive", free_port()
    archive.mkdir()
    with (
        _partners() as (first, second),
        deployed(
            set_up,
            folder,
            "serve",
            more=_settings(portal, first, second, archive),
            destinations=("first", "second", "archive"),
        ) as carnet,
    ):
        run = Soak(options, carnet, first)
        report.progress(f"{options.rate:g}/s for {options.minutes:g} minutes, {set_up.name}")
        run.run(carnet.address, f"http://127.0.0.1:{portal}/")
        sent = sum(run.outcomes.values())
        found = []
        if run.outcomes["accepted"] != sent:
            found.append(f"not all accepted: {dict(run.outcomes)}")
        report.progress("waiting until all is filed and delivered")
        carnet.settle(sent)
        carnet.drain()
        fates = carnet.fates()
        if fates.get("received") != sent or fates.get("filed") != sent:
            found.append(f"{sent} answered, became {fates}")
        found += faults(run.samples, share=options.share, is_interrupted=bool(options.outage))
    return run, found


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench soak", description=__doc__.split("\n")[0])
    parser.add_argument("--set-ups", nargs=1, choices=("sqlite", "postgres"), default=["postgres"])
    parser.add_argument("--rate", type=float, default=200.0, help="messages a second")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--patients", type=int, default=20_000)
    parser.add_argument("--document-kb", type=int, default=138, help="size of letters and reports")
    parser.add_argument("--outage", type=float, default=0.0, help="seconds a partner is away")
    parser.add_argument("--outage-every", type=float, default=180.0, help="seconds between")
    parser.add_argument("--share", type=float, default=0.0, help="most of the machine, as 0.5")
    parser.add_argument("--png", type=Path, help="plot of rate, latency, backlog and memory")
    parser.add_argument("--json", type=Path, help="write everything measured to this file")
    parser.add_argument("--folder", type=Path, help="on the disk to measure; default: TMPDIR")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        [set_up] = set_ups(options.set_ups, os.environ)
        with tempfile.TemporaryDirectory(prefix="carnet-soak-", dir=options.folder) as folder:
            run, found = soak(options, set_up, Path(folder))
    except BenchError as error:
        report.say(f"bench: {error}")
        return 2
    said = {
        "rate": options.rate,
        "minutes": options.minutes,
        "document_kb": options.document_kb,
        "outage": [options.outage, options.outage_every] if options.outage else [],
        "outcomes": dict(run.outcomes),
        **summary(run.samples),
        "faults": found,
        "machine": report.machine(),
    }
    if options.json:
        options.json.write_text(json.dumps({**said, "samples": run.samples}))
    if options.png:
        draw(run.samples, options.png)
    print(json.dumps(said, indent=1))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
