"""A2: archives that climb out, link, lie, blow up or repeat themselves are refused, and nothing is written."""

from __future__ import annotations

import io
import stat
import struct
import time
import zipfile
from pathlib import Path

import pytest

from broker.errors import ParseError
from broker.parsing import xdm

DOCUMENT = "IHE_XDM/SUBSET01/DOC0001.TXT"


def archive(
    *files: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED
) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as made:
        for name, data in files:
            made.writestr(name, data)
    return buffer.getvalue()


def raw_named(name: bytes, data: bytes = b"x") -> bytes:
    """A zip whose only name is these very bytes: `zipfile` would tidy them."""
    placeholder = "N" * len(name)
    return archive((placeholder, data), method=zipfile.ZIP_STORED).replace(
        placeholder.encode(), name
    )


def refusal(body: bytes) -> ParseError:
    started = time.perf_counter()
    with pytest.raises(ParseError) as caught:
        xdm.parse(body)
    assert time.perf_counter() - started < 1.0
    return caught.value


@pytest.mark.parametrize(
    "name",
    [
        "../evil.xml",
        "IHE_XDM/../../evil.xml",
        "..\\..\\evil.xml",
        "/etc/passwd",
        "\\\\host\\share\\x",
        "C:\\x.xml",
        "C:x.xml",
        "./x.xml",
        "a//b.xml",
        "a/ ../b.xml",
        "a/..",
        "x" * 600,
    ],
)
def test_a2_a_name_that_could_leave_the_archive_is_refused(name: str) -> None:
    error = refusal(archive((DOCUMENT, b"t"), (name, b"evil")))

    assert error.code == "xdm.unsafe_name"
    assert error.where == "entry 2"
    assert name not in str(error)


@pytest.mark.parametrize(
    "name",
    [
        b"a\x00.xml",
        b"a\r\nb.xml",
        b"a\x1b[2J.xml",
        "gpj\u202e.xml".encode(),
        "..\uff0fx.xml".encode(),
        "..\u2215x.xml".encode(),
    ],
)
def test_a2_names_with_controls_or_look_alikes_are_refused(name: bytes) -> None:
    body = raw_named(name)
    if max(name) > 127:
        body = with_utf8_names(body)

    assert refusal(body).code == "xdm.unsafe_name"


def with_utf8_names(body: bytes) -> bytes:
    """Sets general purpose bit 11 in the local and the central header of a one-entry zip."""
    changed = bytearray(body)
    struct.pack_into("<H", changed, 6, 0x800)
    struct.pack_into("<H", changed, changed.index(b"PK\x01\x02") + 8, 0x800)
    return bytes(changed)


def test_a2_names_in_an_odd_encoding_are_read_without_harm() -> None:
    read = xdm.parse(raw_named("docum\xe9nt.txt".encode("latin-1"), b"text"))

    assert [document.body for document in read.documents] == [b"text"]


def test_a2_bytes_that_are_not_the_utf8_they_claim_to_be_are_refused() -> None:
    assert refusal(with_utf8_names(raw_named(b"a\xff\xfe.xml"))).code == "xdm.malformed"


@pytest.mark.parametrize(
    "kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK]
)
def test_a2_links_devices_and_pipes_are_refused(kind: int) -> None:
    info = zipfile.ZipInfo("IHE_XDM/SUBSET01/DOC0002.XML")
    info.create_system, info.external_attr = 3, (kind | 0o777) << 16

    assert refusal(archive((DOCUMENT, b"t"), (info, b"/etc/passwd"))).code == "xdm.not_a_file"


def test_a2_ten_thousand_files_are_refused() -> None:
    files = [(f"f/{number}.txt", b"") for number in range(10_000)]

    assert refusal(archive(*files, method=zipfile.ZIP_STORED)).code == "xdm.too_many_entries"


def test_a2_a_ratio_bomb_is_refused_before_it_is_unpacked() -> None:
    assert refusal(archive((DOCUMENT, bytes(50_000_000)))).code == "xdm.bomb"


def test_a2_many_files_that_are_large_together_are_refused() -> None:
    noise = bytes(range(256)) * 256
    files = [(f"f/{number}.bin", noise * 60) for number in range(80)]
    body = archive(*files)

    assert refusal(body).code in {"xdm.bomb", "xdm.too_large"}


def test_a2_a_size_that_lies_does_not_unpack_more_than_it_says() -> None:
    body = bytearray(archive((DOCUMENT, bytes(900_000))))
    central = body.index(b"PK\x01\x02")
    struct.pack_into("<I", body, central + 24, 10)

    assert refusal(bytes(body)).code == "xdm.malformed"


def test_a2_entries_that_share_bytes_are_refused() -> None:
    body = bytearray(archive(("a.txt", b"a" * 100), ("b.txt", b"b" * 100), method=0))
    second = body.index(b"PK\x01\x02", body.index(b"PK\x01\x02") + 1)
    struct.pack_into("<I", body, second + 42, 10)

    assert refusal(bytes(body)).code in {"xdm.bomb", "xdm.malformed"}


@pytest.mark.parametrize("other", [DOCUMENT, DOCUMENT.lower(), DOCUMENT.replace("/", "\\")])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a2_two_entries_of_one_name_are_refused(other: str) -> None:
    assert refusal(archive((DOCUMENT, b"one"), (other, b"two"))).code == "xdm.duplicate_name"


def test_a2_an_archive_in_an_archive_stays_closed() -> None:
    inner = archive(("bomb.txt", bytes(900_000)))

    read = xdm.parse(archive(("IHE_XDM/SUBSET01/INNER.ZIP", inner)))

    assert [(d.media, d.body) for d in read.documents] == [("application/zip", inner)]


def test_a2_encrypted_entries_are_refused() -> None:
    body = bytearray(archive((DOCUMENT, b"text"), method=0))
    struct.pack_into("<H", body, 6, 1)
    struct.pack_into("<H", body, body.index(b"PK\x01\x02") + 8, 1)

    assert refusal(bytes(body)).code == "xdm.encrypted"


def test_a2_other_compressions_are_refused() -> None:
    assert refusal(archive((DOCUMENT, b"t"), method=zipfile.ZIP_LZMA)).code == "xdm.compression"


@pytest.mark.parametrize("body", [b"PK\x03\x04", b"PK\x05\x06" + bytes(18), b"PK\x03\x04" * 1000])
def test_a2_what_is_no_archive_is_said_to_be_none(body: bytes) -> None:
    assert refusal(body).code in {"xdm.malformed", "xdm.no_document"}


def test_a2_a_truncated_archive_is_refused() -> None:
    body = archive((DOCUMENT, bytes(range(256)) * 10))

    assert refusal(body[: len(body) // 2]).code == "xdm.malformed"


def test_a2_nothing_is_written_to_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    xdm.parse(archive((DOCUMENT, b"text")))

    assert list(tmp_path.iterdir()) == []
