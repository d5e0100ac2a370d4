"""How long an auditor waits: an export of 1,000,000 entries, proved and proved false: `scripts/bench audit`.

    python -m tests.benchmarks.audit [--entries 1000000] [--every 10000] [--format jsonl] [--folder DIR] [--json FILE]

The trail is made on SQLite and sealed and signed as the scheduler does, `--every` entries a seal. The printed verifier
then proves the file in a process of its own, by a bare Python without packages. Then seven copies are each harmed in
one way, near the end, and each must be named: one changed byte, an entry deleted, swapped, inserted, the file
truncated, an older backup (by a head noted later), another key.
Exit code: 0 proved within the goal and every harm named, 1 not.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from sqlalchemy import Engine

from broker.audit import export, forms, seal, trail, verify_standalone
from broker.audit.keys import KeyFolder
from broker.audit.trail import Entry
from broker.database import migrate
from broker.database.engine import open_engine, reading, writing

GOAL_SECONDS = 60.0
NOW = datetime(2026, 11, 10, 9, 0, tzinfo=UTC)
_BATCH = 10_000

Harm = Callable[[list[bytes], int], list[bytes]]


def main() -> int:
    """Make, prove, harm; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--every", type=int, default=10_000, help="entries a seal")
    parser.add_argument("--format", choices=("jsonl", "fhir", "atna"), default="jsonl")
    parser.add_argument("--folder", type=Path, help="where to work; a temporary folder without it")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder, prefix="carnet-audit-") as name:
        found = measured(Path(name), given.entries, given.every, given.format)
    if given.json:
        given.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    is_good = found["verify_s"] <= GOAL_SECONDS and all(one["named"] for one in found["harms"])
    say = Console(highlight=False, soft_wrap=True).print
    say(
        f"{found['entries']} entries, {found['segments']} seals, {found['bytes'] / 1e6:.0f} MB of {given.format}"
    )
    say(f"written and sealed {found['made_s']:.1f} s, exported {found['export_s']:.1f} s")
    say(f"proved in {found['verify_s']:.1f} s by a bare Python (goal {GOAL_SECONDS:.0f} s)")
    for one in found["harms"]:
        say(f"{one['harm']}: {one['said']} ({one['seconds']:.1f} s)")
    return 0 if is_good else 1


def measured(folder: Path, entries: int, every: int, name: forms.FormName) -> dict[str, Any]:
    """Every figure."""
    engine = open_engine(f"sqlite:///{folder / 'carnet.db'}")
    migrate.upgrade(engine, NOW)
    keys = KeyFolder(folder / "audit-keys")
    began = time.perf_counter()
    fill(engine, keys, entries, every)
    made = time.perf_counter() - began
    file = folder / f"audit.{name}"
    began = time.perf_counter()
    written = export.export(engine, file, form=forms.form(name, "bench"), signer=keys.existing())
    exported = time.perf_counter() - began
    with reading(engine) as connection:
        (folder / "head.txt").write_text(seal.checkpoint(seal.last_seal(connection)))
    engine.dispose()
    (folder / "verify.py").write_text(Path(verify_standalone.__file__).read_text("utf-8"))
    (folder / "public.pem").write_text(keys.public()[0].pem())
    seconds, said = proved(folder, file)
    assert said["good"], said
    assert (said["entries"], said["signed"]) == (entries, written.segments), said
    return {
        "entries": entries,
        "segments": written.segments,
        "bytes": file.stat().st_size,
        "made_s": made,
        "export_s": exported,
        "verify_s": seconds,
        "harms": list(harms(folder, file)),
    }


def fill(engine: Engine, keys: KeyFolder, entries: int, every: int) -> None:
    """Entries as a day of filing and reading makes them, sealed as the scheduler does."""
    acts = ("received", "filed", "delivery_sent", "document_read")
    signer = keys.signer(NOW)
    for start in range(0, entries, every):
        at = NOW + timedelta(seconds=start // every)
        for first in range(start, min(start + every, entries), _BATCH):
            made = [
                Entry(
                    act=acts[n % 4],
                    at=at,
                    actor_kind="professional" if n % 4 == 3 else "machine",
                    actor="899900000011" if n % 4 == 3 else "ward",
                    patient=n % 50_000,
                    subject=f"018f0000-0000-7000-8000-{n:012d}",
                    control_id=f"MSG{n:09d}",
                    decision="v1:CON-01" if n % 4 == 3 else None,
                )
                for n in range(first, min(first + _BATCH, start + every, entries))
            ]
            with writing(engine) as connection:
                trail.write(connection, made, NOW)
        seal.seal(engine, at, every, signer)


def proved(folder: Path, file: Path, key: str = "public.pem") -> tuple[float, dict[str, Any]]:
    """Seconds of the printed verifier, from the start of its process to its end, and what it said."""
    command = [
        sys.executable,
        "-I",
        "-S",
        "verify.py",
        str(file),
        "--key",
        key,
        "--head",
        "head.txt",
        "--json",
    ]
    began = time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - began
    return seconds, json.loads(done.stdout)


def harms(folder: Path, file: Path) -> Iterator[dict[str, Any]]:
    """Each harm, what was said of it, and whether that is right."""
    lines = file.read_bytes().splitlines(keepends=True)
    at = len(lines) * 9 // 10
    while not all(is_entry(line) for line in lines[at - 2 : at + 3]):
        at += 1
    for kind, harm in HARMS.items():
        harmed = folder / "harmed"
        changed = harm(lines, at)
        harmed.write_bytes(b"".join(changed))
        line = len(changed) + 1 if kind == "truncated" else at + 1
        seconds, said = proved(folder, harmed)
        bad = said["bad"] or {}
        named = (bad.get("kind"), bad.get("line")) == (kind, line)
        yield {"harm": kind, "named": named, "said": spoken(bad), "seconds": seconds}
    older = folder / "head.txt"
    segment, head, *_ = older.read_text().split(":")
    older.write_text(f"{int(segment) + 1}:{head[::-1]}")
    seconds, said = proved(folder, file)
    bad = said["bad"] or {}
    yield {
        "harm": "older backup",
        "named": bad.get("kind") == "restored",
        "said": spoken(bad),
        "seconds": seconds,
    }
    older.write_text("")
    other = KeyFolder(folder / "other").signer(NOW)
    (folder / "other.pem").write_text(other.key.pem())
    seconds, said = proved(folder, file, "other.pem")
    bad = said["bad"] or {}
    yield {
        "harm": "another key",
        "named": bad.get("kind") == "key",
        "said": spoken(bad),
        "seconds": seconds,
    }


def is_entry(line: bytes) -> bool:
    """Whether a line is an entry's, in any format."""
    return b'{"entry":' in line[:10] or b"carnet:entry" in line


def changed_byte(lines: list[bytes], at: int) -> list[bytes]:
    """One bit of one byte in the middle of a line."""
    line = bytearray(lines[at])
    line[len(line) // 2] ^= 1
    return [*lines[:at], bytes(line), *lines[at + 1 :]]


HARMS: dict[str, Harm] = {
    "edited": changed_byte,
    "deleted": lambda lines, at: [*lines[:at], *lines[at + 1 :]],
    "swapped": lambda lines, at: [*lines[:at], lines[at + 1], lines[at], *lines[at + 2 :]],
    "inserted": lambda lines, at: [*lines[:at], lines[at - 1], *lines[at:]],
    "truncated": lambda lines, at: lines[:at],
}


def spoken(bad: dict[str, Any]) -> str:
    """What the verifier said, in short."""
    return f"{bad.get('kind')} at entry {bad.get('n')} in segment {bad.get('segment')}, line {bad.get('line')}"


if __name__ == "__main__":
    sys.exit(main())
