"""F41: what systems send each other, or give back to whom they have it from, does not go round for ever."""

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


class Echo:
    """A partner that gives back what it gets, on the port it is sent from, with control ids of its own.

    Under its own name, with the times of the event anew, and a segment of its own. Of some patients it gives nothing back.
    """

    def __init__(self, port: int, given_back: bytes) -> None:
        self.partner = Partner(self._give_back)
        self._port = port
        self._given_back = given_back

    def of(self, patient: bytes) -> int:
        """How often it got a message of this patient."""
        return sum(patient in one.message for one in self.partner.got)

    def _give_back(self, control_id: str, message: bytes) -> str:
        number = str(len(self.partner.got)).encode()
        header, event, rest = message.split(b"\r", 2)
        fields = header.split(b"|")
        fields[9] = b"ECHO" + number
        if self._given_back not in rest:
            return "AA"
        fields[2], fields[3] = b"EAST", b"E"
        event = b"EVN||20261126%06d||||20261126%06d" % (int(number), int(number))
        rest += b"ZEC|EAST|%b\r" % number
        back = b"|".join(fields) + b"\r" + event + b"\r" + rest
        with socket.create_connection(("127.0.0.1", self._port), 10) as connection:
            connection.sendall(b"\x0b" + back + b"\x1c\r")
            connection.recv(65536)
        return "AA"


def test_f41_a_partner_that_gives_back_on_the_same_port_is_found(site: Site) -> None:
    echo = Echo(site.mllp, given_back=b"4711^")
    site.write(
        f"""
[destination.partner]
adapter = "mllp"
host = "127.0.0.1"
port = {echo.partner.port}

[[route]]
name = "all to the partner"
to = ["partner"]
when = {{ source = ["hospital"] }}
"""
    )
    with site.serving():
        site.send_mllp(A08 % (b"WEST", b"P1"))
        # Who says the same again, and is given nothing back, is not stopped, however quickly and often.
        for n in range(25):
            site.send_mllp(A08.replace(b"4711", b"4713") % (b"WEST", b"R%d" % n))
        site.await_balance(lambda balance: balance.get("parked", 0) == 1, DEADLINE)
        site.await_settled(26, DEADLINE)
        deadline = time.monotonic() + DEADLINE
        while echo.of(b"4713^") < 25:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        _, parked = site.carnet("messages", "list", "--state", "parked")

    echo.partner.close()
    assert [one["reason"] for one in parked] == ["routing.loop"]
    # An echo may come before it is noted what it is the echo of: then its round does not count.
    assert 4 <= echo.of(b"4711^") <= 8
