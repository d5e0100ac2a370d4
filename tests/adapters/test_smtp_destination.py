"""The SMTP client against aiosmtpd: one mail a message, protected, recognisable, and what each answer means."""

from __future__ import annotations

import base64
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters import smtp_mail
from adapters.smtp_client import SmtpDestination, SmtpDestinationSettings
from broker import plugins, settings
from broker.envelope import Envelope
from broker.errors import AmbiguousError, CarnetError, PermanentError, SetupError, TransientError
from tests.adapters.certificates import Certificates
from tests.adapters.gateway import DEADLINE
from tests.adapters.mail_server import PASSWORD, USER, MailServer

ID = "01937e5c-1a2b-7abc-8def-000000000001"
MESSAGE_ID = f"<{ID}.7@hospital.invalid>"
SENDER, TO = "carnet@hospital.invalid", "ward@partner.invalid"
CDA = "application/cda+xml"

Dial = Callable[..., SmtpDestination]
Serve = Callable[..., MailServer]


@pytest.fixture
def serve(certificates: Certificates) -> Iterator[Serve]:
    started: list[MailServer] = []

    def make(**settings: Any) -> MailServer:
        server = MailServer(certificates, **settings)
        server.start()
        started.append(server)
        return server

    yield make
    for one in started:
        one.stop()


@pytest.fixture
def mail_server(serve: Serve) -> MailServer:
    return serve()


@pytest.fixture
def dial(certificates: Certificates) -> Iterator[Dial]:
    opened: list[SmtpDestination] = []

    def make(port: int | MailServer, **settings: Any) -> SmtpDestination:
        usual = {
            "host": "127.0.0.1", "port": port if isinstance(port, int) else port.bound_port, "sender": SENDER, "to": TO,
            "tls_ca": certificates.ca, "user": USER, "password": PASSWORD,
        }  # fmt: skip
        opened.append(SmtpDestination("out", SmtpDestinationSettings(**{**usual, **settings})))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


def envelope(body: bytes = b"<ClinicalDocument/>", media: str = CDA, **keys: str) -> Envelope:
    keys = {"message_id": ID, "delivery": "7", **keys}
    return Envelope(source="out", body=body, media=media, keys=keys, received_at=datetime.now(UTC))


# -- what is sent -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_a_message_is_the_attachment_of_one_mail(serve: Serve, dial: Dial, tls: str) -> None:
    server = serve(tls=tls)

    receipt = dial(server, tls=tls).deliver(envelope())

    assert (receipt.outcome, receipt.code) == ("accepted", "smtp.250")
    assert receipt.answer == b"250 2.0.0 Queued as INVENTED"
    (mail,) = server.parsed
    assert (mail["From"], mail["To"], mail["Subject"]) == (SENDER, TO, "Document")
    assert mail["Message-ID"] == receipt.keys["smtp_message_id"] == MESSAGE_ID
    text, attached = mail.iter_parts()
    assert text.get_content() == "A document is attached.\r\n"
    assert attached.get_content() == b"<ClinicalDocument/>"
    assert (attached.get_filename(), attached.get_content_type()) == ("document.xml", CDA)


@pytest.mark.parametrize(
    ("media", "name", "subject"),
    [
        ("application/zip", "IHE_XDM.ZIP", "XDM/1.0/DDM+Document"),
        ("x-application/hl7-v2+er7", "message.hl7", "Document"),
        ("application/fhir+json", "resource.json", "Document"),
        ("text/plain; name=x\r\nBcc: a@b.invalid", "message.bin", "Document"),
        ("", "message.bin", "Document"),
    ],
)
def test_the_attachment_is_named_by_its_media(
    mail_server: MailServer, dial: Dial, media: str, name: str, subject: str
) -> None:
    dial(mail_server).deliver(envelope(b"PK\x03\x04", media))

    (mail,) = mail_server.parsed
    (attached,) = mail.iter_attachments()
    assert (attached.get_filename(), mail["Subject"]) == (name, subject)
    assert attached.get_payload(decode=True) == b"PK\x03\x04"


def test_one_connection_carries_many_mails(mail_server: MailServer, dial: Dial) -> None:
    destination = dial(mail_server)

    for number in range(3):
        destination.deliver(envelope(delivery=str(number)))

    assert len(mail_server.mails) == 3
    assert mail_server.connections == 1


def test_a_mail_sent_again_has_the_same_message_id(mail_server: MailServer, dial: Dial) -> None:
    destination = dial(mail_server)

    for _ in range(2):
        destination.deliver(envelope())

    assert {mail["Message-ID"] for mail in mail_server.parsed} == {MESSAGE_ID}


def test_the_message_s_own_recipient_wins(mail_server: MailServer, dial: Dial) -> None:
    dial(mail_server).deliver(envelope(recipient="other@partner.invalid"))

    assert mail_server.recipients == ["other@partner.invalid"]
    assert mail_server.parsed[0]["To"] == "other@partner.invalid"


def test_dsn_names_the_delivery_and_keeps_the_document_out_of_what_returns(
    mail_server: MailServer, dial: Dial
) -> None:
    dial(mail_server, delivery_notice=True, reading_notice=True).deliver(envelope())

    mail, rcpt = (line.decode() for line in mail_server.commands[-2:])
    assert f"RET=HDRS ENVID={ID}.7" in mail
    assert rcpt.endswith("NOTIFY=SUCCESS,FAILURE,DELAY")
    assert mail_server.parsed[0]["Disposition-Notification-To"] == SENDER


def test_a_server_without_dsn_is_not_asked_for_it(serve: Serve, dial: Dial) -> None:
    server = serve(has_dsn=False)

    dial(server, delivery_notice=True).deliver(envelope())

    assert not any(b"ENVID" in line or b"NOTIFY" in line for line in server.commands)
    assert "Disposition-Notification-To" not in server.parsed[0]


def test_texts_of_the_settings_may_be_french(mail_server: MailServer, dial: Dial) -> None:
    dial(mail_server, subject="Compte rendu reçu", text="Un document est joint.\n.\n..é").deliver(
        envelope()
    )

    (mail,) = mail_server.parsed
    assert mail["Subject"] == "Compte rendu reçu"
    assert next(mail.iter_parts()).get_content().split() == [
        "Un",
        "document",
        "est",
        "joint.",
        ".",
        "..é",
    ]
    assert mail_server.mails[0].isascii()


@pytest.mark.parametrize("recipient", ["a@b.invalid\r\nRCPT TO:<x@y.invalid>", "a@b.invalid\nBcc: x@y.invalid",
                                       "a@b.invalid,x@y.invalid", "<a@b.invalid>", "é@b.invalid", "a b@c.invalid",
                                       "a@", "@b", "a@b..c", "a" * 300 + "@b.invalid", "a@b.invalid> NOTIFY=NEVER"])  # fmt: skip
def test_a_recipient_that_is_no_address_gets_nothing(
    mail_server: MailServer, dial: Dial, recipient: str
) -> None:
    with pytest.raises(PermanentError, match=r"smtp\.recipient") as caught:
        dial(mail_server).deliver(envelope(recipient=recipient))

    assert not mail_server.connections
    assert recipient not in str(caught.value)


@given(st.text(max_size=60), st.text(max_size=60), st.binary(max_size=2_000), st.text(max_size=40))
def test_nothing_of_a_message_adds_a_header_or_ends_the_data(
    message_id: str, delivery: str, body: bytes, media: str
) -> None:
    one = envelope(body, media, message_id=message_id, delivery=delivery)
    identifier = smtp_mail.message_id(one, "hospital.invalid")

    mail = smtp_mail.compose(
        one, sender=SENDER, to=TO, subject="Document", text="Text.", identifier=identifier, reading_notice=False
    )  # fmt: skip

    names = [
        line.partition(b":")[0]
        for line in mail.partition(b"\r\n\r\n")[0].split(b"\r\n")
        if line[:1] not in b" \t"
    ]
    assert names == [
        b"From",
        b"To",
        b"Date",
        b"Message-ID",
        b"Subject",
        b"MIME-Version",
        b"Content-Type",
    ]
    assert mail.isascii()
    dotted = smtp_mail.dotted(mail)
    assert b"\r\n.\r\n" not in dotted
    assert dotted.replace(b"\r\n..", b"\r\n.") == mail
    assert b"\n" not in mail.replace(b"\r\n", b"")


def test_a_long_domain_leaves_the_message_id_in_one_piece() -> None:
    domain = ".".join(["a" * 60] * 3) + ".invalid"
    one = envelope()
    identifier = smtp_mail.message_id(one, domain)

    mail = smtp_mail.compose(
        one, sender=f"carnet@{domain}", to=TO, subject="Document", text="Text.", identifier=identifier, reading_notice=False
    )  # fmt: skip

    assert identifier.encode() in mail


# -- what protects it -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_a_server_whose_certificate_does_not_hold_gets_nothing(
    serve: Serve, dial: Dial, certificates: Certificates, tls: str
) -> None:
    server = serve(tls=tls)

    with pytest.raises(TransientError, match="does not verify"):
        dial(server, tls=tls, tls_ca=certificates.other_ca).deliver(envelope())

    assert not server.mails


def test_a_server_that_does_not_offer_starttls_gets_neither_mail_nor_password(
    serve: Serve, dial: Dial
) -> None:
    server = serve(tls="none")

    with pytest.raises(TransientError, match=r"smtp\.not_offered"):
        dial(server).deliver(envelope())

    assert not server.mails


def test_a_login_that_is_refused_is_permanent_and_shows_no_secret(
    mail_server: MailServer, dial: Dial
) -> None:
    with pytest.raises(PermanentError, match=r"smtp\.535") as caught:
        dial(mail_server, password="another-password-of-the-tests").deliver(envelope())

    assert "another-password" not in f"{caught.value!r} {caught.value.__cause__!r}"


def test_without_tls_it_sends_on_this_machine_only(serve: Serve, dial: Dial) -> None:
    server = serve(tls="none")

    dial(server, tls="none", user="", password="").deliver(envelope())

    assert len(server.mails) == 1
    with pytest.raises(SetupError):
        dial(25, host="mail.partner.invalid", tls="none")


# -- what each answer and each silence means ----------------------------------------------------------------------


@pytest.mark.parametrize("step", ["MAIL", "RCPT", "DATA"])
@pytest.mark.parametrize(
    ("answer", "error"),
    [("450 4.2.0 Greylisted", TransientError), ("421 Closing", TransientError), ("550 5.1.1 Unknown", PermanentError)],
)  # fmt: skip
def test_4xx_is_for_later_and_5xx_for_good(
    mail_server: MailServer, dial: Dial, step: str, answer: str, error: type[CarnetError]
) -> None:
    mail_server.answers[step] = answer
    destination = dial(mail_server)

    with pytest.raises(error, match=f"smtp.{answer[:3]}") as caught:
        destination.deliver(envelope())
    assert not mail_server.mails
    assert answer[4:] not in str(caught.value)
    mail_server.answers.clear()
    destination.deliver(envelope())

    assert len(mail_server.mails) == 1


def test_the_condition_of_rfc_3463_is_said(mail_server: MailServer, dial: Dial) -> None:
    mail_server.answers["RCPT"] = "550 5.1.1 No such invented person"

    with pytest.raises(PermanentError, match=r"refused it \(5\.1\.1\)"):
        dial(mail_server).deliver(envelope())


@pytest.mark.parametrize(
    ("step", "error"),
    [("MAIL", TransientError), ("RCPT", TransientError), ("DATA", AmbiguousError)],
)
def test_f12_a_connection_lost_is_unknown_only_after_the_end_of_the_data(
    mail_server: MailServer, dial: Dial, step: str, error: type[CarnetError]
) -> None:
    mail_server.hang_up = step

    with pytest.raises(error):
        dial(mail_server).deliver(envelope())


class Script:
    """A server that says its lines one for each line it hears, then keeps silent or hangs up."""

    def __init__(self, *lines: str, hangs_up: bool = True) -> None:
        self.heard = b""
        self._lines = [f"{line}\r\n".encode() for line in lines]
        self._hangs_up = hangs_up
        self._over = threading.Event()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        connection, _ = self._listening.accept()
        with connection, connection.makefile("rb") as lines:
            connection.settimeout(DEADLINE)
            connection.sendall(self._lines.pop(0))
            while self._lines:
                self.heard += lines.readline()
                connection.sendall(self._lines.pop(0))
            if not self._hangs_up:
                self._over.wait(DEADLINE)

    def close(self) -> None:
        self._over.set()
        self._thread.join(DEADLINE)
        self._listening.close()


TALK = ("220 x", "250 x", "250 x", "250 x", "354 x")


@pytest.mark.parametrize(
    ("lines", "hangs_up", "error"),
    [
        (("554 no",), True, PermanentError),
        (("220 x", "250 x"), True, TransientError),
        (("220 x", "250 x"), False, TransientError),
        (TALK, True, CarnetError),
        (TALK, False, AmbiguousError),
        ((*TALK[:-1], "250 what"), True, TransientError),
    ],
)
def test_what_a_server_does_not_say_is_judged_by_how_far_it_came(
    dial: Dial, lines: tuple[str, ...], hangs_up: bool, error: type[CarnetError]
) -> None:
    script = Script(*lines, hangs_up=hangs_up)
    destination = dial(
        script.port, tls="none", user="", password="", answer_timeout=timedelta(seconds=0.3)
    )

    with pytest.raises(error):
        destination.deliver(envelope())

    script.close()


def test_data_that_did_not_leave_whole_is_for_later(dial: Dial) -> None:
    """The server hangs up in the middle of 20 MB: it cannot have seen the end."""
    script = Script(*TALK)
    destination = dial(script.port, tls="none", user="", password="")

    with pytest.raises(TransientError, match=r"smtp\.connect"):
        destination.deliver(envelope(b"x" * 20_000_000))

    script.close()


def test_an_answer_that_is_none_after_the_data_is_unknown(dial: Dial) -> None:
    script = Script(*TALK, "what")
    destination = dial(script.port, tls="none", user="", password="")

    with pytest.raises(AmbiguousError):
        destination.deliver(envelope())

    script.close()


def test_nobody_there_is_for_later_and_then_works_again(
    mail_server: MailServer, dial: Dial, serve: Serve
) -> None:
    with pytest.raises(TransientError):
        dial(1).deliver(envelope())

    destination = dial(mail_server)
    destination.deliver(envelope())
    mail_server.hang_up = "MAIL"
    with pytest.raises(TransientError):
        destination.deliver(envelope())
    mail_server.hang_up = ""
    destination.deliver(envelope())

    assert len(mail_server.mails) == 2


# -- what cannot work is said before the first message --------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "where"),
    [
        ({"sender": "Carnet <carnet@hospital.invalid>"}, "sender"),
        ({"to": "a@b.invalid, c@d.invalid"}, "to"),
        ({"subject": "Document\r\nBcc: a@b.invalid"}, "subject"),
        ({"subject": "x" * 201}, "subject"),
        ({"user": ""}, "user"),
        ({"password": ""}, "user"),
        ({"password": "é"}, "user"),
        ({"host": "mail.partner.invalid", "tls": "none"}, "tls"),
    ],
)
def test_what_cannot_work_is_a_set_up_error(
    dial: Dial, settings: dict[str, Any], where: str
) -> None:
    with pytest.raises(SetupError) as caught:
        dial(25, **settings)

    assert caught.value.where == f"destination.out.{where}"


def test_base64_of_the_body_is_all_that_is_said_of_it(mail_server: MailServer, dial: Dial) -> None:
    dial(mail_server).deliver(envelope(b"ZZCANARI"))

    assert b"ZZCANARI" not in mail_server.mails[0]
    assert base64.b64encode(b"ZZCANARI") in mail_server.mails[0]


# -- whom a document names ----------------------------------------------------------------------------------------

NAMED: dict[str, Any] = {"to": "", "per_recipient": True, "recipient_domains": ("mssante.fr",)}


def test_a_named_recipient_of_a_trusted_domain_is_written_to(
    mail_server: MailServer, dial: Dial
) -> None:
    dial(mail_server, **NAMED).deliver(envelope(recipient="anne@ville.mssante.fr"))

    assert mail_server.recipients == ["anne@ville.mssante.fr"]


@pytest.mark.parametrize(
    ("recipient", "code"),
    [
        ("anne@webmail.invalid", "smtp.recipient_domain"),
        ("anne@evilmssante.fr", "smtp.recipient_domain"),
        ("", "smtp.recipient"),
    ],
)
def test_nobody_else_is_whatever_was_owed_before(
    mail_server: MailServer, dial: Dial, recipient: str, code: str
) -> None:
    with pytest.raises(PermanentError) as caught:
        dial(mail_server, **NAMED).deliver(envelope(recipient=recipient))

    assert caught.value.code == code
    assert mail_server.commands == []


@pytest.mark.parametrize(
    ("answer", "where"),
    [
        ("452 4.2.2 Mailbox full", "recipient"),
        ("450 4.2.0 Greylisted", "recipient"),
        ("550 5.1.1 No such user", "recipient"),
        ("451 4.3.0 Local error", ""),
        ("421 4.3.2 Closing", ""),
    ],
)
def test_what_is_one_mailbox_s_alone_is_told_apart_from_what_is_the_server_s(
    mail_server: MailServer, dial: Dial, answer: str, where: str
) -> None:
    mail_server.answers["RCPT"] = answer

    with pytest.raises(CarnetError) as caught:
        dial(mail_server).deliver(envelope())

    assert caught.value.where == where


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (
            "per_recipient = true",
            "destination.out: per_recipient needs recipient_domains: without it",
        ),
        (
            'per_recipient = true\nrecipient_domains = ["fr"]',
            'recipient_domains are written like "mssante.fr"',
        ),
        ('per_recipient = true\nrecipient_domains = ["*"]', "recipient_domains are written like"),
        (
            'per_recipient = true\nrecipient_domains = ["mssante.fr"]\nmax_recipients = 0',
            "max_recipients must lie",
        ),
        (
            'per_recipient = true\nrecipient_domains = ["mssante.fr"]\nto = "a@b.invalid"',
            "leave out to",
        ),
        ('recipient_domains = ["mssante.fr"]\nto = "a@b.invalid"', "needs per_recipient = true"),
        (
            'per_recipient = true\nrecipient_domains = ["mssante.fr"]\nsends = "original"',
            "destination.out.sends: ",
        ),
        ("", "to is required, or per_recipient = true"),
    ],
)
def test_settings_that_could_let_a_message_choose_any_mailbox_are_refused(
    tmp_path: Path, lines: str, problem: str
) -> None:
    file = tmp_path / "carnet.toml"
    sends = "" if "sends" in lines else 'sends = "xdm"\n'
    file.write_text(
        f'[destination.out]\nadapter = "smtp"\nhost = "127.0.0.1"\nsender = "a@b.invalid"\n{sends}{lines}\n'
    )

    with pytest.raises(settings.SettingsError) as caught:
        settings.load(file, adapters=plugins.adapters())

    (found,) = caught.value.problems
    assert problem in str(found)


def test_other_adapters_know_nothing_of_recipients(tmp_path: Path) -> None:
    file = tmp_path / "carnet.toml"
    file.write_text(
        '[destination.out]\nadapter = "mllp"\nhost = "127.0.0.1"\nport = 2575\nper_recipient = true\n'
    )

    with pytest.raises(settings.SettingsError, match='unknown key "per_recipient"'):
        settings.load(file, adapters=plugins.adapters())


def test_notices_to_holders_do_not_go_by_a_destination_of_few_domains(tmp_path: Path) -> None:
    file = tmp_path / "carnet.toml"
    file.write_text(
        '[destination.out]\nadapter = "smtp"\nhost = "127.0.0.1"\nsender = "a@b.invalid"\nsends = "xdm"\n'
        'per_recipient = true\nrecipient_domains = ["mssante.fr"]\n[notices]\nmail = "out"\nmssante = "out"\n'
    )

    with pytest.raises(settings.SettingsError) as caught:
        settings.load(file, adapters=plugins.adapters())

    (found,) = caught.value.problems
    assert found.key == "notices.mail"
