"""The smallest MLLP client of the tests: raw bytes out, whole frames in."""

from __future__ import annotations

import socket


def message(
    control_id: str = "1", facility: str = "LABO", application: str = "SIL", more: str = ""
) -> bytes:
    """An invented ADT^A01."""
    head = rf"MSH|^~\&|{application}|{facility}|CARNET|CHU|20260301||ADT^A01^ADT_A01|{control_id}|P|2.5"
    return f"{head}{more}\rPID|1||123^^^CHU\r".encode()


def framed(body: bytes) -> bytes:
    return b"\x0b" + body + b"\x1c\r"


def answers(connection: socket.socket, count: int = 1) -> list[bytes]:
    """The next `count` answers; fewer when the peer closes first."""
    data = b""
    while data.count(b"\x1c\r") < count:
        received = connection.recv(65536)
        if not received:
            break
        data += received
    return [frame.lstrip(b"\x0b") for frame in data.split(b"\x1c\r") if frame]


def verdict(answer: bytes) -> tuple[bytes, bytes]:
    """MSA-1 and MSA-2."""
    fields = answer.split(b"\rMSA|")[1].split(b"\r")[0].split(b"|")
    return fields[0], fields[1]


def is_closed(connection: socket.socket) -> bool:
    """Whether the peer ended the connection, within the socket's timeout."""
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True
