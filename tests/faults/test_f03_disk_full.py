"""F3: a disk that is full, or cannot be written: the sender is told so, nothing is lost, and it goes on by itself."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.story.site import Site

SIZE = 48 * 1024 * 1024
A08 = (
    b"MSH|^~\\&|WARD|H|CARNET|R|20261125100000||ADT^A08^ADT_A01|%b|P|2.5^FRA^2.11|||||FRA|UNICODE UTF-8\r"
    b"EVN||20261125100000\r"
    b"PID|1||4711^^^HOPITAL_ESSAI&1.2.250.1.999.1&ISO^PI||EXEMPLE^JEANNE^^^^^L||19800101|F\r"
    b"PV1|1|I|MATER\r"
)
DEADLINE = 60.0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    mounted = subprocess.run(["mount", *options], capture_output=True, text=True, check=False)
    if mounted.returncode:
        if os.environ.get("CARNET_TEST_STRICT") == "1" and os.geteuid() == 0:
            pytest.fail(f"no disk could be mounted: {mounted.stderr}", pytrace=False)
        pytest.skip("only root may mount a disk to fill")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def send_until(site: Site, first: int, code: str) -> list[str]:
    """Send new messages until one is answered with `code`; the control ids that were answered AA."""
    taken = []
    deadline = time.monotonic() + DEADLINE
    number = first
    while True:
        control_id = str(number)
        (answer,) = site.send_mllp(A08 % control_id.encode())
        if answer == "AA":
            taken.append(control_id)
        if answer == code:
            return taken
        assert time.monotonic() < deadline, f"never answered {code}"
        number += 1
        time.sleep(0.05)


def fill(disk: Path, leaving: int) -> Path:
    """Take the disk's room but for so many bytes."""
    filler = disk / "filler"
    room = shutil.disk_usage(disk).free - leaving
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, room)
    return filler


@pytest.mark.parametrize("bound", [8 * 1024 * 1024, 0], ids=["seen coming", "at the last byte"])
def test_f03_a_full_disk_is_refused_for_now_and_loses_nothing(
    disk: Path, tmp_path: Path, queue_prefix: str, bound: int
) -> None:
    site = Site(tmp_path, f"sqlite:///{disk}/carnet.db", "embedded", queue_prefix)
    site.write(f"[intake]\nmin_free_bytes = {bound}\n")
    with site.serving():
        taken = [str(n) for n in range(3)]
        assert site.send_mllp(*(A08 % c.encode() for c in taken)) == ["AA"] * 3
        site.await_settled(3)

        # Half of the bound: less than the broker wants, more than it writes until it looks again.
        filler = fill(disk, leaving=bound // 2)
        taken += send_until(site, 1_000, "AR")
        filler.unlink()
        taken += send_until(site, 2_000_000, "AA")

        balance = site.await_settled(len(taken))
        assert site.carnet("reconcile")[0] == 0
        _, listed = site.carnet("messages", "list")
    log = (tmp_path / "serve.log").read_text()

    assert balance["received"] == balance["filed"] == len(taken)
    known = {one["control_id"] for one in listed if "control_id" in one}
    assert known == set(sorted(taken, key=int)[-50:])
    said = "intake_shut" if bound else "database_unavailable"
    assert said in log


def test_f03_a_disk_that_refuses_every_write_is_refused_for_now_and_loses_nothing(
    tmp_path: Path, queue_prefix: str
) -> None:
    """No process of the broker can write a byte to any file, those it has open included."""
    site = Site(tmp_path, f"sqlite:///{tmp_path}/carnet.db", "embedded", queue_prefix)
    site.write()
    with site.serving() as running:
        assert site.send_mllp(A08 % b"1") == ["AA"]
        site.await_settled(1)

        for pid in running.pids.values():
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        taken = send_until(site, 1_000, "AR")
        for pid in running.pids.values():
            unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, unlimited)
        taken += send_until(site, 2_000, "AA")

        balance = site.await_settled(1 + len(taken))
        assert site.carnet("reconcile")[0] == 0

    assert balance["received"] == balance["filed"] == 1 + len(taken)
