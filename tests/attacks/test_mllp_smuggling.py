"""A5, A6: nobody sends in another's name, by certificate, by address, or by hiding a message behind another."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta

import pytest

from adapters.mllp import MllpSource, MllpSourceSettings
from adapters.peers import AllowedPeer
from broker.errors import SetupError
from tests.adapters.certificates import Certificates
from tests.adapters.gateway import Gateway
from tests.adapters.mllp_client import answers, framed, is_closed, message, verdict

BOUND = (
    AllowedPeer(
        certificate="lab-a", facilities=("LABO_A",), applications=("SIL",), structure="010000024"
    ),
    AllowedPeer(certificate="CN=lab-b,O=Invented", facilities=("LABO_B",)),
)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    gateway = Gateway()
    yield gateway
    gateway.close()


@pytest.fixture
def secured(gateway: Gateway, certificates: Certificates) -> Gateway:
    """A listener with mutual TLS, a revocation list, and two bound partners."""
    settings = MllpSourceSettings(
        port=0,
        tls_certificate=certificates.server,
        tls_client_ca=certificates.ca,
        tls_client_crl=certificates.crl,
        peers=BOUND,
        frame_timeout=timedelta(seconds=1),
    )
    return gateway.start(MllpSource("lab", settings, gateway.notice))


def dial(gateway: Gateway, context: ssl.SSLContext) -> ssl.SSLSocket:
    plain = socket.create_connection(("127.0.0.1", gateway.port), timeout=15)
    try:
        return context.wrap_socket(plain, server_hostname="localhost")
    except OSError:
        plain.close()
        raise


def test_a5_a_partner_with_its_certificate_and_its_name_is_answered(
    secured: Gateway, certificates: Certificates
) -> None:
    with dial(secured, certificates.client(certificates.lab_a)) as connection:
        connection.sendall(framed(message("1", facility="LABO_A")))
        answer = answers(connection)[0]

    assert verdict(answer) == (b"AA", b"1")
    assert secured.source.address.startswith("mllps://")
    assert secured.envelopes[0].peer.certificate == "CN=lab-a,O=Invented"
    assert secured.envelopes[0].peer.structure == "010000024"


@pytest.mark.parametrize(
    ("facility", "application", "place"),
    [("LABO_B", "SIL", b"MSH^1^4"), ("LABO_A", "RIS", b"MSH^1^3"), ("", "SIL", b"MSH^1^4")],
)
def test_a5_partner_a_cannot_send_as_partner_b(
    secured: Gateway, certificates: Certificates, facility: str, application: str, place: bytes
) -> None:
    with dial(secured, certificates.client(certificates.lab_a)) as connection:
        connection.sendall(framed(message("1", facility=facility, application=application)))
        answer = answers(connection)[0]

    assert verdict(answer) == (b"AE", b"1")
    assert b"ERR||" + place in answer
    assert not secured.envelopes
    assert secured.codes("refused_at_door") == ["peer.sender"]


@pytest.mark.parametrize("line_end", [b"\r", b"\n", b"\r\n", b"\r\x0b", b"\r\xef\xbb\xbf"])
def test_a6_a_second_message_in_the_frame_cannot_hide_behind_the_first(
    secured: Gateway, certificates: Certificates, line_end: bytes
) -> None:
    mine = message("1", facility="LABO_A").rstrip(b"\r")

    with dial(secured, certificates.client(certificates.lab_a)) as connection:
        connection.sendall(framed(mine + line_end + message("2", facility="LABO_B")))
        answer = answers(connection)[0]

    assert verdict(answer)[0] == b"AE"
    assert not secured.envelopes


@pytest.mark.parametrize("body", [b"PID|1\r", b"MSH", b"", b"FHS|^~\\&\rMSH|^~\\&|SIL|LABO_B\r"])
def test_a5_what_names_no_sender_is_not_taken_from_a_bound_partner(
    secured: Gateway, certificates: Certificates, body: bytes
) -> None:
    with dial(secured, certificates.client(certificates.lab_a)) as connection:
        connection.sendall(framed(body) + framed(message("9", facility="LABO_A")))
        assert verdict(answers(connection, 2 if body else 1)[-1]) == (b"AA", b"9")

    assert len(secured.envelopes) == 1


@pytest.mark.parametrize("name", ["expired", "revoked", "stranger", None])
def test_a5_a_certificate_that_does_not_hold_is_refused_and_reported(
    secured: Gateway, certificates: Certificates, name: str | None
) -> None:
    context = certificates.client(getattr(certificates, name) if name else None)

    heard = b""
    with suppress(ssl.SSLError, ConnectionError), dial(secured, context) as connection:
        connection.sendall(framed(message("1", facility="LABO_A")))
        heard = connection.recv(1)

    assert heard == b""
    secured.until(lambda: "tls.handshake" in secured.codes("refused_at_door"))
    assert not secured.envelopes


def test_a5_old_tls_is_refused(secured: Gateway, certificates: Certificates) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(certificates.ca)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1

    with pytest.raises((ssl.SSLError, ConnectionError)):
        dial(secured, context)


def test_a5_plaintext_is_refused_where_tls_is_required(secured: Gateway) -> None:
    with socket.create_connection(("127.0.0.1", secured.port), timeout=15) as plain:
        plain.sendall(framed(message("1", facility="LABO_A")))
        assert not plain.recv(65536).startswith(b"\x0b")

    assert not secured.envelopes


def test_a5_an_address_that_is_not_listed_is_put_out(gateway: Gateway) -> None:
    settings = MllpSourceSettings(port=0, peers=(AllowedPeer(address="192.0.2.0/24"),))
    gateway.start(MllpSource("lab", settings, gateway.notice))

    with socket.create_connection(("127.0.0.1", gateway.port), timeout=15) as connection:
        assert is_closed(connection)

    assert gateway.codes("refused_at_door") == ["peer.not_allowed"]


def test_a5_an_address_may_be_bound_to_a_facility(gateway: Gateway) -> None:
    peers = (AllowedPeer(address="127.0.0.0/8", facilities=("LABO",)),)
    gateway.start(MllpSource("lab", MllpSourceSettings(port=0, peers=peers), gateway.notice))

    with socket.create_connection(("127.0.0.1", gateway.port), timeout=15) as connection:
        connection.sendall(framed(message("1")) + framed(message("2", facility="OTHER")))
        codes = [verdict(answer)[0] for answer in answers(connection, 2)]

    assert codes == [b"AA", b"AE"]


def test_a5_a_certificate_file_that_is_missing_is_a_set_up_error(
    certificates: Certificates,
) -> None:
    settings = MllpSourceSettings(tls_certificate=certificates.server.with_name("missing.pem"))

    with pytest.raises(SetupError, match=r"source\.lab\.tls_certificate"):
        MllpSource("lab", settings, lambda *_: None)
