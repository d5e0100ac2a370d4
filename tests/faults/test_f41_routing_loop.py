"""F41: two systems that send each other what they were sent do not go round for ever."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest

from tests.broker.partner import Partner
from tests.story.site import Site, free_port

A08 = (
    b"MSH|^~\\&|%b|H|CARNET|R|20261125100000||ADT^A08^ADT_A01|%b|P|2.5^FRA^2.11|||||FRA|UNICODE UTF-8\r"
    b"EVN||20261125100000\r"
    b"PID|1||4711^^^HOPITAL_ESSAI&1.2.250.1.999.1&ISO^PI||EXEMPLE^JEANNE^^^^^L||19800101|F\r"
    b"PV1|1|I|MATER\r"
)
DEADLINE = 60.0


@pytest.fixture(params=["embedded", "services"])
def site(request: pytest.FixtureRequest, tmp_path: Path, queue_prefix: str) -> Site:
    if request.param == "embedded":
        return Site(tmp_path, f"sqlite:///{tmp_path}/carnet.db", "embedded", queue_prefix)
    database = request.getfixturevalue("postgres_url")
    return Site(tmp_path, database, request.getfixturevalue("amqp_url"), queue_prefix)


class Relay:
    """A partner that sends everything it gets back to us, under a header and a control id of its own."""

    def __init__(self, name: bytes, port: int) -> None:
        self.partner = Partner(self._send_on)
        self._name = name
        self._port = port

    def _send_on(self, control_id: str, message: bytes) -> str:
        header, _, rest = message.partition(b"\r")
        fields = header.split(b"|")
        fields[2], fields[9] = self._name, self._name + str(len(self.partner.got)).encode()
        with socket.create_connection(("127.0.0.1", self._port), 10) as connection:
            connection.sendall(b"\x0b" + b"|".join(fields) + b"\r" + rest + b"\x1c\r")
            connection.recv(65536)
        return "AA"


def test_f41_a_loop_is_found_and_the_message_kept_for_a_person(site: Site) -> None:
    back = free_port()
    west, east = Relay(b"WEST", site.mllp), Relay(b"EAST", back)
    site.write(
        f"""
[source.east]
adapter = "mllp"
port = {back}

[destination.to-east]
adapter = "mllp"
host = "127.0.0.1"
port = {east.partner.port}

[destination.to-west]
adapter = "mllp"
host = "127.0.0.1"
port = {west.partner.port}

[[route]]
name = "from the hospital"
to = ["to-east"]
when = {{ source = ["hospital"] }}

[[route]]
name = "from the east"
to = ["to-west"]
when = {{ source = ["east"] }}
"""
    )
    with site.serving():
        site.send_mllp(A08 % (b"WEST", b"1"))
        site.await_balance(lambda balance: balance.get("parked", 0) == 1, DEADLINE)
        _, parked = site.carnet("messages", "list", "--state", "parked")
        went = len(west.partner.got) + len(east.partner.got)
        # The lane of the parked one goes on, and so does the next round of another patient's message.
        site.send_mllp(A08.replace(b"4711", b"4712") % (b"WEST", b"2"))
        deadline = time.monotonic() + DEADLINE
        while not any(b"4712" in one.message for one in east.partner.got):
            assert time.monotonic() < deadline
            time.sleep(0.1)

    west.partner.close()
    east.partner.close()
    assert parked[0]["reason"] == "routing.loop"
    assert went == 6, "round three times, and no more"
