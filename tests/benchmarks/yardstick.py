"""The yardstick: a bare MLLP server that only answers, to know what machine and client can do without a broker.

    python -m tests.benchmarks.yardstick --listen 127.0.0.1:2599

Splits MSH for the control id and says AA with MSA-2; stores nothing and promises nothing. Prints
`mllp://host:port` when it listens (port 0: any) and runs until it is told to end.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import signal
import sys
from collections.abc import Sequence
from typing import cast

import uvloop

_START, _END = b"\x0b", b"\x1c\r"
_ANSWER = (
    b"\x0bMSH|^~\\&|YARDSTICK||||20261123080000||ACK|1|P|2.5\rMSA|AA|%b\r\x1c\r"
)  # fmt: skip


class Answerer(asyncio.Protocol):
    """Answers each frame of a connection."""

    __slots__ = ("_buffer", "_transport")

    def __init__(self) -> None:
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data if self._buffer else data
        *frames, self._buffer = buffer.split(_END)
        for frame in frames:
            header = frame[frame.index(_START) + 1 :].partition(b"\r")[0]
            self._transport.write(_ANSWER % header.split(b"|")[9])


async def serve(host: str, port: int) -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    server = await loop.create_server(Answerer, host, port, backlog=1024)
    host, port = server.sockets[0].getsockname()[:2]
    print(f"mllp://{host}:{port}", flush=True)
    gc.freeze()
    await ended.wait()
    server.close()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="yardstick", description=__doc__.split("\n")[0])
    parser.add_argument("--listen", default="127.0.0.1:0", help="host:port")
    host, _, port = parser.parse_args(arguments).listen.rpartition(":")
    uvloop.run(serve(host, int(port)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
