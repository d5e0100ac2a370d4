"""The SFTP client against OpenSSH: whole files under safe names, known host keys only, and what each failure means."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import paramiko
import pytest

from adapters.sftp_client import SftpDestination, SftpDestinationSettings
from broker.envelope import Envelope
from broker.errors import AmbiguousError, CarnetError, PermanentError, SetupError, TransientError
from tests.adapters.gateway import DEADLINE
from tests.adapters.sftp_server import KEY_PASSWORD, Sshd, make_key

HL7 = "x-application/hl7-v2+er7"
ID = "01937e5c-1a2b-7abc-8def-000000000001"
NAME = f"{ID}-7.hl7"
BODY = b"MSH|^~\\&|invented\r"

Dial = Callable[..., SftpDestination]


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    server = Sshd(tmp_path).start()
    yield server
    server.stop()


@pytest.fixture
def dial(sshd: Sshd) -> Iterator[Dial]:
    opened: list[SftpDestination] = []

    def make(**settings: Any) -> SftpDestination:
        made = SftpDestinationSettings(**{**sshd.settings, **settings})
        opened.append(SftpDestination("out", made))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


def envelope(body: bytes = BODY, media: str = HL7, **keys: str) -> Envelope:
    keys = {"message_id": ID, "delivery": "7", **keys}
    return Envelope(source="out", body=body, media=media, keys=keys, received_at=datetime.now(UTC))


# -- what is written ------------------------------------------------------------------------------------------


def test_a_message_is_one_file_and_nothing_else(sshd: Sshd, dial: Dial) -> None:
    receipt = dial().deliver(envelope())

    assert (receipt.outcome, receipt.code, receipt.keys["file"]) == (
        "accepted",
        "sftp.written",
        NAME,
    )
    assert sshd.files() == {NAME: BODY}


@pytest.mark.parametrize("size", [0, 1, 32_768, 32_769, 5_000_000])
def test_a_file_of_any_size_arrives_whole(sshd: Sshd, dial: Dial, size: int) -> None:
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)

    dial().deliver(envelope(body))

    assert sshd.files() == {NAME: body}


def test_one_connection_carries_many_messages(sshd: Sshd, dial: Dial) -> None:
    destination = dial()
    destination.deliver(envelope(delivery="1"))
    sshd.subsystem("false")

    destination.deliver(envelope(delivery="2"))

    assert len(sshd.files()) == 2


def test_the_same_delivery_made_again_is_the_same_file(sshd: Sshd, dial: Dial) -> None:
    destination = dial()

    names = {destination.deliver(envelope()).keys["file"] for _ in range(3)}

    assert names == {NAME}
    assert sshd.files() == {NAME: BODY}


def test_what_an_attempt_left_unfinished_is_written_again(sshd: Sshd, dial: Dial) -> None:
    (sshd.inbox / f"{NAME}.part").write_bytes(BODY * 10)

    dial(unfinished=".part").deliver(envelope())

    assert sshd.files() == {NAME: BODY}


def test_a_companion_follows_the_file(sshd: Sshd, dial: Dial) -> None:
    dial(companion=".ok").deliver(envelope())

    assert sshd.files() == {NAME: BODY, f"{NAME}.ok": b""}


@pytest.mark.parametrize("key", ["../../etc/x", "/etc/x", "", ".hidden", "a/b", "x" * 200, "a\nb"])
def test_a2_a_key_that_is_no_plain_name_is_not_used_as_one(
    sshd: Sshd, dial: Dial, key: str
) -> None:
    name = dial().deliver(envelope(delivery=key, message_id=key)).keys["file"]

    assert len(name) == 32 + 1 + 32 + len(".hl7")
    assert list(sshd.files()) == [name]


@pytest.mark.parametrize(
    ("media", "extension"),
    [("application/cda+xml", ".xml"), ("application/fhir+json", ".json"), ("application/zip", ".zip"), ("", ".bin")],
)  # fmt: skip
def test_the_extension_follows_the_media(dial: Dial, media: str, extension: str) -> None:
    name = dial(name="{delivery}{extension}").deliver(envelope(media=media)).keys["file"]

    assert name == f"7{extension}"


# -- whom it trusts, and as whom it comes -----------------------------------------------------------------------


def test_a_host_key_is_recognised_by_its_fingerprint(sshd: Sshd, dial: Dial) -> None:
    dial(known_hosts=None, fingerprints=("SHA256:" + "A" * 43, sshd.fingerprint)).deliver(
        envelope()
    )

    assert sshd.files() == {NAME: BODY}


def test_another_host_key_than_the_known_one_gets_nothing(sshd: Sshd, dial: Dial) -> None:
    other = sshd.known_hosts(sshd.stranger_key)

    with pytest.raises(TransientError, match=r"sftp\.host_key"):
        dial(known_hosts=other).deliver(envelope())

    assert not sshd.files()


def test_another_fingerprint_than_the_known_one_gets_nothing(sshd: Sshd, dial: Dial) -> None:
    with pytest.raises(TransientError, match=r"sftp\.host_key"):
        dial(known_hosts=None, fingerprints=("SHA256:" + "A" * 43,)).deliver(envelope())

    assert not sshd.files()


def test_a_host_that_changes_its_key_gets_nothing_more(sshd: Sshd, dial: Dial) -> None:
    destination = dial()
    destination.deliver(envelope(delivery="1"))
    sshd.stop()
    sshd.host_key = make_key(sshd.inbox.parent / "another_host_key")
    sshd.start()

    for _ in range(2):
        with pytest.raises(TransientError):
            destination.deliver(envelope(delivery="2"))

    assert len(sshd.files()) == 1


def test_a_locked_private_key_is_opened_by_its_password(sshd: Sshd, dial: Dial) -> None:
    dial(key=sshd.locked_key, key_password=KEY_PASSWORD).deliver(envelope())

    assert sshd.files() == {NAME: BODY}


@pytest.mark.parametrize("password", ["", "not-the-password-of-the-tests"])
def test_a_login_that_is_refused_is_permanent_and_shows_no_secret(
    sshd: Sshd, dial: Dial, password: str
) -> None:
    with pytest.raises(PermanentError, match=r"sftp\.login") as caught:
        dial(key=sshd.stranger_key, password=password).deliver(envelope())

    assert "not-the-password" not in f"{caught.value} {caught.value.__cause__}"


class _PasswordServer(paramiko.ServerInterface):  # type: ignore[misc]  # a library without types
    """Takes one password, alone or behind a key."""

    def __init__(self, *, needs_both: bool) -> None:
        self._needs_both = needs_both
        self._has_key = not needs_both

    def get_allowed_auths(self, username: str) -> str:
        return "password" if self._has_key else "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        self._has_key = True
        return int(paramiko.AUTH_PARTIALLY_SUCCESSFUL if self._needs_both else paramiko.AUTH_FAILED)

    def check_auth_password(self, username: str, password: str) -> int:
        is_right = self._has_key and password == KEY_PASSWORD
        return int(paramiko.AUTH_SUCCESSFUL if is_right else paramiko.AUTH_FAILED)

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return int(paramiko.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED)


@contextmanager
def password_server(folder: Path, *, needs_both: bool) -> Iterator[SftpDestinationSettings]:
    """Serves one connection; yields what a destination needs to reach it, but for the password."""
    host_key = paramiko.PKey.from_path(make_key(folder / "host_key"))
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listening.accept()
        with closing(paramiko.Transport(connection)) as transport:
            transport.add_server_key(host_key)
            transport.start_server(threading.Event(), _PasswordServer(needs_both=needs_both))
            transport.join(DEADLINE)

    thread = threading.Thread(target=serve)
    thread.start()
    with listening:
        yield SftpDestinationSettings(
            host="127.0.0.1", port=listening.getsockname()[1], user="invented",
            key=make_key(folder / "key"), fingerprints=(host_key.fingerprint,),
        )  # fmt: skip
        thread.join(DEADLINE)


@pytest.mark.parametrize(
    ("needs_both", "password", "code"),
    [
        (False, KEY_PASSWORD, "sftp.connect"),
        (True, KEY_PASSWORD, "sftp.connect"),
        (True, "", "sftp.login"),
        (False, "wrong", "sftp.login"),
    ],
)
def test_a_password_is_said_instead_of_the_key_or_after_it(
    tmp_path: Path, needs_both: bool, password: str, code: str
) -> None:
    """This server has no files: a login that succeeds is told by the next error, that of the channel."""
    with password_server(tmp_path, needs_both=needs_both) as settings:
        destination = SftpDestination("out", msgspec.structs.replace(settings, password=password))

        with pytest.raises(CarnetError) as caught:
            destination.deliver(envelope())

    assert caught.value.code == code


# -- what each failure means ------------------------------------------------------------------------------------


@pytest.mark.parametrize("request_kind", ["open", "write", "close", "stat"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_connection_lost_before_the_file_has_its_name_is_for_later(
    sshd: Sshd, dial: Dial, request_kind: str, when: str
) -> None:
    sshd.cut(request_kind, when)
    destination = dial()

    with pytest.raises(TransientError):
        destination.deliver(envelope())
    assert NAME not in sshd.files()
    sshd.subsystem()
    destination.deliver(envelope())

    assert sshd.files() == {NAME: BODY}


@pytest.mark.parametrize(("when", "is_there"), [("before", False), ("after", True)])
def test_f12_a_connection_lost_over_the_name_is_unknown_and_the_next_attempt_settles_it(
    sshd: Sshd, dial: Dial, when: str, is_there: bool
) -> None:
    sshd.cut("extended", when)
    destination = dial()

    with pytest.raises(AmbiguousError, match=r"sftp\.rename"):
        destination.deliver(envelope())
    assert (NAME in sshd.files()) is is_there
    sshd.subsystem()
    destination.deliver(envelope())

    assert sshd.files() == {NAME: BODY}


@pytest.mark.parametrize(
    ("request_kind", "error"), [("write", TransientError), ("extended", AmbiguousError)]
)
def test_a_server_that_falls_silent_is_waited_for_no_longer_than_told(
    sshd: Sshd, dial: Dial, request_kind: str, error: type[CarnetError]
) -> None:
    sshd.cut(request_kind, "unanswered")

    with pytest.raises(error, match="no answer in time"):
        dial(answer_timeout=timedelta(seconds=0.3)).deliver(envelope())


def test_a_companion_that_may_be_missing_is_unknown(sshd: Sshd, dial: Dial) -> None:
    sshd.cut("open:2", "before")
    destination = dial(companion=".ok")

    with pytest.raises(AmbiguousError, match=r"sftp\.companion"):
        destination.deliver(envelope())
    sshd.subsystem()
    destination.deliver(envelope())

    assert sshd.files() == {NAME: BODY, f"{NAME}.ok": b""}


def test_a_companion_that_is_refused_is_permanent(sshd: Sshd, dial: Dial) -> None:
    (sshd.inbox / f"{NAME}.ok").mkdir()

    with pytest.raises(PermanentError, match=r"sftp\.companion"):
        dial(companion=".ok").deliver(envelope())

    assert sshd.files() == {NAME: BODY}


@pytest.mark.parametrize("options", ["-R", "-P write", "-P open"])
def test_permission_denied_is_permanent_and_leaves_nothing_of_ours(
    sshd: Sshd, dial: Dial, options: str
) -> None:
    sshd.only(options)

    with pytest.raises(PermanentError, match="permission denied"):
        dial().deliver(envelope())

    assert not sshd.files()


def test_no_space_is_permanent_and_leaves_nothing_behind(sshd: Sshd, dial: Dial) -> None:
    sshd.subsystem(shell="trap '' XFSZ; ulimit -f 1")

    with pytest.raises(PermanentError, match="space"):
        dial().deliver(envelope(b"x" * 1_000_000))

    assert not sshd.files()


def test_after_a_refusal_the_connection_still_serves(sshd: Sshd, dial: Dial) -> None:
    sshd.subsystem(shell="trap '' XFSZ; ulimit -f 1")
    destination = dial()
    with pytest.raises(PermanentError):
        destination.deliver(envelope(b"x" * 1_000_000, delivery="1"))

    destination.deliver(envelope())

    assert sshd.files() == {NAME: BODY}


def test_a_folder_that_is_away_is_for_later(sshd: Sshd, dial: Dial) -> None:
    destination = dial()
    sshd.inbox.rename(sshd.inbox.with_name("away"))

    with pytest.raises(TransientError):
        destination.deliver(envelope())


def test_a_server_without_posix_rename_is_asked_for_the_plain_one(sshd: Sshd, dial: Dial) -> None:
    sshd.cut("extended", "unknown")
    destination = dial()

    for _ in range(2):
        destination.deliver(envelope())

    assert sshd.files() == {NAME: BODY}


def test_without_posix_rename_nothing_of_another_size_is_replaced(sshd: Sshd, dial: Dial) -> None:
    sshd.cut("extended", "unknown")
    (sshd.inbox / NAME).write_bytes(b"theirs")

    with pytest.raises(PermanentError, match=r"sftp\.rename"):
        dial().deliver(envelope())

    assert sshd.files()[NAME] == b"theirs"


def test_nobody_there_is_for_later_and_then_works_again(sshd: Sshd, dial: Dial) -> None:
    destination = dial()
    destination.deliver(envelope(delivery="1"))
    sshd.stop()
    with pytest.raises(TransientError):
        destination.deliver(envelope())
    sshd.start()

    destination.deliver(envelope())

    assert len(sshd.files()) == 2


def test_a_server_that_is_no_ssh_server_is_for_later(dial: Dial) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        destination = dial(
            port=port, known_hosts=None, fingerprints=("SHA256:" + "A" * 43,), connect_timeout=timedelta(seconds=0.3)
        )  # fmt: skip

        with pytest.raises(TransientError, match=r"sftp\.connect"):
            destination.deliver(envelope())


def test_nothing_is_logged_by_the_library(
    sshd: Sshd, dial: Dial, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    sshd.cut("write", "after")

    with pytest.raises(TransientError):
        dial().deliver(envelope())

    assert not caplog.records
    assert capfd.readouterr().err == ""


# -- what cannot work is said before the first message -------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "where"),
    [
        ({"known_hosts": None}, "known_hosts"),
        ({"known_hosts": Path("/nowhere")}, "known_hosts"),
        ({"fingerprints": ("SHA256:" + "A" * 43,)}, "known_hosts"),
        ({"known_hosts": None, "fingerprints": ("AA:BB",)}, "fingerprints"),
        ({"host": "another.invalid"}, "known_hosts"),
        ({"port": 22}, "known_hosts"),
        ({"key": None}, "key"),
        ({"key": Path("/nowhere")}, "key"),
        ({"name": "fixed.hl7"}, "name"),
        ({"name": "{digest}{extension}"}, "name"),
        ({"name": "{patient}-{delivery}"}, "name"),
        ({"name": "../{delivery}"}, "name"),
        ({"name": "a/{delivery}"}, "name"),
        ({"unfinished": ""}, "unfinished"),
        ({"unfinished": "/tmp"}, "unfinished"),
        ({"unfinished": ".x", "companion": ".x"}, "unfinished"),
        ({"companion": "ok/"}, "companion"),
    ],
)
def test_what_cannot_work_is_a_set_up_error(
    sshd: Sshd, dial: Dial, settings: dict[str, Any], where: str
) -> None:
    with pytest.raises(SetupError) as caught:
        dial(**settings)

    assert caught.value.where == f"destination.out.{where}"


@pytest.mark.parametrize("password", ["", "wrong"])
def test_a_private_key_that_stays_locked_is_a_set_up_error(
    sshd: Sshd, dial: Dial, password: str
) -> None:
    with pytest.raises(SetupError, match=r"sftp\.key"):
        dial(key=sshd.locked_key, key_password=password)


def test_a_file_with_markers_is_a_set_up_error(sshd: Sshd, dial: Dial) -> None:
    known = sshd.known_hosts()
    known.write_text(f"@revoked {known.read_text()}{known.read_text()}")

    with pytest.raises(SetupError, match="markers"):
        dial(known_hosts=known)


def test_a_file_that_is_none_is_a_set_up_error(sshd: Sshd, dial: Dial) -> None:
    known = sshd.known_hosts()
    known.write_text("[127.0.0.1]:22 ssh-ed25519 A\n")

    with pytest.raises(SetupError, match="cannot be read"):
        dial(known_hosts=known)
