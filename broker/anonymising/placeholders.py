"""Small valid files that stand for a PDF or an image: nothing of what was in it can be kept.

Source: ISO 32000-1 §7.5 (PDF), PNG (third edition) §11, GIF89a, ITU-T T.81 (JPEG, baseline), TIFF 6.0 §3.
"""

from __future__ import annotations

import struct
import zlib


def of(data: bytes, media: str) -> bytes | None:
    """What replaces binary content, by its first bytes and then by its media type; None for anything else."""
    for start, name, make in _KINDS:
        if data.startswith(start) or media.lower() in name:
            return make()
    if data[128:132] == b"DICM":
        return bytes(128) + b"DICM"
    return None


def pdf() -> bytes:
    """One empty page."""
    objects = (
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]>>",
    )
    out, starts = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        starts.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % start for start in starts)
    return (
        out
        + b"xref\n0 4\n0000000000 65535 f \n"
        + table
        + b"trailer\n<</Size 4/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % len(out)
    )


def png() -> bytes:
    """One grey dot."""
    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0\x80")), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )


def gif() -> bytes:
    """One black dot."""
    return (
        b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff" + b",\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;"
    )


def jpeg() -> bytes:
    """One grey dot: a table of ones, one code for each Huffman table, one empty block."""
    quantisation = b"\xff\xdb\0\x43\0" + b"\x01" * 64
    frame = b"\xff\xc0\0\x0b\x08\0\x01\0\x01\x01\x01\x11\0"
    codes = b"".join(b"\xff\xc4\0\x14" + kind + b"\x01" + bytes(15) + b"\0" for kind in (b"\0", b"\x10"))  # fmt: skip
    return (
        b"\xff\xd8" + quantisation + frame + codes + b"\xff\xda\0\x08\x01\x01\0\0\x3f\0\x3f\xff\xd9"
    )


def tiff() -> bytes:
    """One grey dot."""
    tags = ((256, 1), (257, 1), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, 1), (279, 1))  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0\x0c\0\0\0\x80\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(4)


def rtf() -> bytes:
    """An empty text."""
    return b"{\\rtf1 }"


_KINDS = (
    (b"%PDF", ("application/pdf",), pdf),
    (b"\x89PNG", ("image/png",), png),
    (b"GIF8", ("image/gif",), gif),
    (b"\xff\xd8", ("image/jpeg", "image/jpg"), jpeg),
    (b"II*\0", ("image/tiff",), tiff),
    (b"MM\0*", ("image/tiff",), tiff),
    (b"{\\rtf", ("text/rtf", "application/rtf"), rtf),
)
