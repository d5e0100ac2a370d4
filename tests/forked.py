"""The command in a process of its own, forked from one that has all of it loaded: a start costs a tenth, nothing is shared.

For tests that ask a running installation many things. How the command starts by itself is seen where roles are started.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NoReturn

from broker.cli import assembled, main

PROJECT = Path(__file__).resolve().parent.parent


def carnet(
    *arguments: str, environ: Mapping[str, str], stdin: str = "", timeout: float = 120.0
) -> subprocess.CompletedProcess[str]:
    """Run the command in the project's folder: its exit code, standard output and error.

    Raises: subprocess.TimeoutExpired after `timeout` seconds; the process is ended.
    """
    request = json.dumps([list(arguments), dict(environ)]).encode()
    with (
        socket.socket(socket.AF_UNIX) as asked,
        tempfile.TemporaryFile() as given,
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
    ):
        given.write(stdin.encode())
        given.seek(0)
        asked.settimeout(timeout)
        asked.connect(_stem())
        socket.send_fds(
            asked, [b"%12d" % len(request)], [given.fileno(), out.fileno(), err.fileno()]
        )
        asked.sendall(request)
        with asked.makefile("r") as told:
            process = int(told.readline())
            try:
                code = told.readline()
            except TimeoutError as error:
                os.kill(process, signal.SIGKILL)
                raise subprocess.TimeoutExpired(list(arguments), timeout) from error
        for file in (out, err):
            file.seek(0)
        said, remarks = out.read().decode(), err.read().decode()
    return subprocess.CompletedProcess(list(arguments), int(code or -signal.SIGKILL), said, remarks)


@cache
def _stem() -> str:
    """Start the process that is forked from, once a process of pytest; it ends with it. Returns its address."""
    folder = tempfile.mkdtemp(prefix="carnet-stem-")
    address = f"{folder}/socket"
    stem = subprocess.Popen(
        [sys.executable, "-m", "tests.forked", address],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    atexit.register(stem.communicate)
    assert stem.stdout is not None
    assert stem.stdout.readline(), "the process to fork from did not start"
    return address


def _serve(address: str) -> None:
    """Fork for each who asks, until standard input ends."""
    assembled()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        print("ready", flush=True)
        while sys.stdin not in select.select([listener, sys.stdin], [], [])[0]:
            asked, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                _run(asked)
            asked.close()
    Path(address).unlink()
    Path(address).parent.rmdir()


def _run(asked: socket.socket) -> NoReturn:
    """Be the command."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    asked.sendall(b"%d\n" % os.getpid())
    size, files, _, _ = socket.recv_fds(asked, 12, 3)
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    sys.stdin, sys.stdout, sys.stderr = (
        open(number, mode, encoding="utf-8", closefd=False)  # noqa: SIM115 - they are there until the end
        for number, mode in enumerate(("r", "w", "w"))
    )
    request = b""
    while len(request) < int(size):
        part = asked.recv(65_536)
        if not part:
            os._exit(1)  # who asked is gone
        request += part
    arguments, environ = json.loads(request)
    os.environ.clear()
    os.environ.update(environ)
    code = _ended(arguments)
    sys.stdout.flush()
    sys.stderr.flush()
    asked.sendall(b"%d\n" % code)
    os._exit(code)


def _ended(arguments: Sequence[str]) -> int:
    try:
        main(arguments)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:  # noqa: BLE001 - told as an interpreter tells it
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    _serve(sys.argv[1])
