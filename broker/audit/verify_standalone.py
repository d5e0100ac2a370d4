#!/usr/bin/env python3
"""Prove an exported trail of Carnet, or name its first bad line: one file, nothing but Python 3.9 and its own library.

    python3 verify.py audit.zip
    python3 verify.py audit.jsonl --key public.pem --head head.txt

No server, no network, no settings. `--key` is a public key that you got from the site by another way (`carnet audit
keys --public`): without one, the signatures show only that all is signed by the keys the file itself names. `--head`
is a head that somebody noted (`carnet audit head`): it shows that no older state was restored.
Exit codes: 0 proved, 1 something was changed, 2 the file or an option cannot be read.

Longer than other modules because an auditor is given one file: it imports nothing of Carnet, and Carnet verifies
exports by it too. The format is described in docs/explanation/audit-trail.md. Ed25519 is written after RFC 8032,
section 5.1; where the package `cryptography` is installed, it is used instead, because it is faster.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import re
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

try:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
except ImportError:  # an auditor's Python
    Ed25519PublicKey = None  # type: ignore[assignment, misc]

FORMAT = "carnet-audit"
VERSION = 1
DIGEST_BYTES = 16
GENESIS = bytes(32)
MAX_LINE_BYTES = 64 * 1024 * 1024
MAX_ROWS = 1_000_000
"""Most entries between two seals; a sealer writes 10,000."""

_CARRIED = re.compile(
    rb'"?type"?[:=]"carnet:(entry|seal|header|end)"[, ]"?value(?:Base64Binary)?"?[:=]"([A-Za-z0-9+/=]*)"'
)
_KEY_ID = re.compile(r"[0-9a-f]{16}")
_SPKI = bytes.fromhex("302a300506032b6570032100")
"""What stands before the 32 bytes of a public key in its PEM file (RFC 8410)."""


class Unreadable(Exception):  # noqa: N818 - it is about the file, not about what it says
    """The file is no export, or an option is none. The text says what."""


@dataclass(frozen=True)
class Bad:
    """The first thing wrong: edited, deleted, inserted, swapped, truncated, seal, signature, key or restored.

    `n` is the number of the entry, `segment` the seal concerned, `line` the line of the file.
    """

    kind: str
    segment: int
    n: int | None = None
    line: int | None = None


@dataclass
class Result:
    """What was checked. `head` is `segment:hex` of the last seal; `keys` are the ids of the keys that signed."""

    segments: int = 0
    entries: int = 0
    signed: int = 0
    head: str = ""
    keys: list[str] = field(default_factory=list)
    export_signed: bool = False
    bad: Bad | None = None


# --- Ed25519 (RFC 8032, 5.1) ------------------------------------------------------------------------------------

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
_ROOT = pow(2, (P - 1) // 4, P)
Point = tuple[int, int, int, int]
_ZERO: Point = (0, 1, 1, 0)


def _add(a: Point, b: Point) -> Point:
    left = (a[1] - a[0]) * (b[1] - b[0]) % P
    right = (a[1] + a[0]) * (b[1] + b[0]) % P
    c = 2 * a[3] * b[3] * D % P
    d = 2 * a[2] * b[2] % P
    e, f, g, h = right - left, d - c, d + c, right + left
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def _x_of(y: int, sign: int) -> int | None:
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * _ROOT % P
    if (x * x - square) % P or (x == 0 and sign):
        return None
    return P - x if x & 1 != sign else x


def _point(data: bytes) -> Point | None:
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & (2**255 - 1)
    x = _x_of(y, sign)
    return None if x is None else (x, y, 1, x * y % P)


def _multiples(point: Point) -> list[list[Point]]:
    """For each of the 32 bytes of a number, what it adds: 255 points each. Made once a key."""
    table = []
    for _ in range(32):
        row = [_ZERO]
        for _ in range(255):
            row.append(_add(row[-1], point))
        table.append(row)
        point = _add(row[-1], point)
    return table


_TABLES: dict[bytes, list[list[Point]]] = {}


def pure_signature_holds(public: bytes, message: bytes, signature: bytes) -> bool:
    """RFC 8032, 5.1.7, without the cofactor, as OpenSSL does. `public` is 32 bytes."""
    if len(public) != 32 or len(signature) != 64:
        return False
    a = _point(public)
    s = int.from_bytes(signature[32:], "little")
    if a is None or s >= L:
        return False
    if public not in _TABLES:
        _TABLES[public] = _multiples((P - a[0], a[1], 1, (P - a[0]) * a[1] % P))
    if b"" not in _TABLES:
        y = 4 * pow(5, -1, P) % P
        x = _x_of(y, 0) or 0
        _TABLES[b""] = _multiples((x, y, 1, x * y % P))
    hashed = hashlib.sha512(signature[:32] + public + message).digest()
    k = int.from_bytes(hashed, "little") % L
    total = _ZERO
    for number, table in ((s, _TABLES[b""]), (k, _TABLES[public])):
        for row, byte in enumerate(number.to_bytes(32, "little")):
            if byte:
                total = _add(total, table[row][byte])
    inverse = pow(total[2], -1, P)
    x, y = total[0] * inverse % P, total[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little") == signature[:32]


def signature_holds(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` (64 bytes) of `message` is of the key `public` (32 bytes)."""
    if Ed25519PublicKey is None:
        return pure_signature_holds(public, message, signature)
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


# --- what is signed ---------------------------------------------------------------------------------------------


def seal_message(segment: int, head: bytes) -> bytes:
    """What a seal's signature signs; the head covers all entries and heads before."""
    return b"carnet audit seal 1\n" + struct.pack(">q", segment) + head


def endorsed_message(public: bytes) -> bytes:
    """What the key before signs of the key after it."""
    return b"carnet audit key 1\n" + public


def export_message(sha256: bytes) -> bytes:
    """What the last line of an export signs of all lines before it."""
    return b"carnet audit export 1\n" + sha256


def key_id(public: bytes) -> str:
    """16 hexadecimal digits that stand for a public key."""
    return hashlib.sha256(public).hexdigest()[:16]


class Keys:
    """The keys whose signatures count.

    `records` are `{"public", "endorsed_by", "endorsement"}` in hexadecimal; `anchors` the public keys that somebody
    trusts. With anchors a key counts when it is one, or was endorsed by one that counts; without, all records count.
    """

    def __init__(self, records: list[dict[str, Any]], anchors: tuple[bytes, ...] = ()) -> None:
        known = {}
        for record in records:
            public = bytes.fromhex(str(record["public"]))
            known[key_id(public)] = (public, record)
        self.is_anchored = bool(anchors)
        if not anchors:
            self.public = {name: public for name, (public, _) in known.items()}
            return
        self.public = {key_id(public): public for public in anchors}
        grew = True
        while grew:
            grew = False
            for name, (public, record) in known.items():
                by = self.public.get(str(record.get("endorsed_by") or ""))
                if name in self.public or by is None:
                    continue
                proof = bytes.fromhex(str(record.get("endorsement") or ""))
                if signature_holds(by, endorsed_message(public), proof):
                    self.public[name] = public
                    grew = True

    def wrong(self, name: str, message: bytes, signature: bytes) -> str | None:
        """`key` when the key does not count, `signature` when the signature does not hold; None when it does."""
        public = self.public.get(name)
        if public is None:
            return "key"
        return None if signature_holds(public, message, signature) else "signature"


def public_key_of(text: str) -> bytes:
    """The 32 bytes of a public key in a PEM file or of 64 hexadecimal digits. Raises Unreadable."""
    body = "".join(line.strip() for line in text.splitlines() if not line.startswith("-"))
    try:
        data = bytes.fromhex(body) if len(body) == 64 else base64.b64decode(body, validate=True)
    except ValueError:
        data = b""
    data = data.removeprefix(_SPKI)
    if len(data) != 32:
        raise Unreadable("the key is no Ed25519 public key (PEM, or 64 hexadecimal digits)")
    return data


@dataclass(frozen=True)
class Head:
    """A head noted earlier: `SEGMENT:HEAD`, or with its signature `SEGMENT:HEAD:KEY:SIGNATURE`."""

    segment: int = 0
    head: str = ""
    key: str = ""
    signature: str = ""

    @classmethod
    def read(cls, text: str) -> Head:
        """The last head of a text of one a line; none of an empty one. Raises Unreadable."""
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        if not lines:
            return cls()
        parts = lines[-1].split(":")
        is_good = (
            len(parts) in (2, 4)
            and parts[0].isdigit()
            and re.fullmatch(r"[0-9a-fA-F]{64}", parts[1])
            and (
                len(parts) == 2
                or (_KEY_ID.fullmatch(parts[2]) and re.fullmatch(r"[0-9a-fA-F]{128}", parts[3]))
            )
        )
        if not is_good:
            raise Unreadable("not SEGMENT:HEAD")
        return cls(int(parts[0]), parts[1].lower(), *parts[2:])

    def wrong(self, keys: Keys) -> str | None:
        """What is wrong with its own signature, where it has one."""
        if not self.key:
            return None
        message = seal_message(self.segment, bytes.fromhex(self.head))
        return keys.wrong(self.key, message, bytes.fromhex(self.signature))


# --- the chain --------------------------------------------------------------------------------------------------


def head_of(seal: dict[str, Any], previous: bytes, digests: bytes) -> bytes:
    """The head of a seal: SHA-256 of the head before, five numbers of 64 bits, and the digests of its entries."""
    numbers = [int(seal[name]) for name in ("segment", "from_n", "to_n", "entries", "sealed_at")]
    return hashlib.sha256(previous + struct.pack(">5q", *numbers) + digests).digest()


def kind_of(sealed: list[bytes], found: list[bytes], place: int) -> str:
    """What happened at the first place where digests differ."""
    if place == len(found):
        return "deleted"
    if place == len(sealed):
        return "inserted"
    if found[place] in sealed[place + 1 :]:
        return "swapped" if sealed[place] in found[place + 1 :] else "deleted"
    return "inserted" if sealed[place] in found[place + 1 :] else "edited"


class Walk:
    """Reads an export line by line and holds one segment at a time."""

    def __init__(self, anchors: tuple[bytes, ...], head: Head) -> None:
        self.result = Result()
        self._anchors = anchors
        self._wanted = head
        self._keys = Keys([])
        self._line = 0
        self._layout = 1
        self._all = hashlib.sha256()
        self._entries: list[bytes] = []
        self._lines: list[bytes] = []
        self._ended = False
        self._last_seal_line = 1
        self._is_last_signed = False
        self._progress: Callable[[int], None] | None = None
        self._met = not head.segment

    def run(self, lines: Iterator[bytes], progress: Callable[[int], None] | None) -> Result:
        """Walk to the end or to the first bad line. Raises Unreadable when there is no header."""
        self._progress = progress
        self.result.bad = self._header(next(lines, b"")) or self._walk(lines)
        return self.result

    def _walk(self, lines: Iterator[bytes]) -> Bad | None:
        for raw in lines:
            self._line += 1
            if raw[:10] == b'{"entry":[' and raw[-3:] == b"]}\n" and not self._ended:
                self._entries.append(raw[9:-2])
                self._all.update(raw)
                if len(self._entries) > MAX_ROWS:
                    return self._bad("truncated")
                continue
            bad = self._other(raw)
            if bad is not None:
                return bad
        return self._finish()

    def _bad(self, kind: str, line: int | None = None, n: int | None = None) -> Bad:
        return Bad(kind, self._next, n, self._line if line is None else line)

    def _header(self, raw: bytes) -> Bad | None:
        self._line = 1
        self._all.update(raw)
        kind, header, around = _record(raw)
        is_header = kind == "header" and isinstance(header, dict)
        if not is_header or (header.get("format"), header.get("version")) != (FORMAT, VERSION):
            raise Unreadable("no header of an export")
        try:
            self._previous = bytes.fromhex(header["previous_head"])
            self._next = int(header["first_segment"])
            self._from_n = int(header["from_n"])
            self._layout = int(header.get("layout", 1))
            is_whole = self._is_whole(header, around)
            self._keys = Keys(header.get("keys", []), self._anchors)
        except (KeyError, TypeError, ValueError):
            return Bad("seal", 0, line=1)
        is_first = self._next == 1
        if not is_whole or (is_first and (self._from_n, self._previous) != (0, GENESIS)):
            return self._bad("seal")
        wrong = self._wanted.wrong(self._keys)
        if wrong is not None:
            return Bad(wrong, self._wanted.segment, line=None)
        if not is_first and self._wanted.segment == self._next - 1:
            if self._wanted.head != self._previous.hex():
                return self._bad("restored")
            self._met = True
        return None

    def _is_whole(self, value: dict[str, Any], around: bytes) -> bool:
        """Whether a line is as it was written. The first layout had no such mark."""
        if self._layout == 1 and "self" not in value:
            return True
        return marked(value, around) == value

    def _other(self, raw: bytes) -> Bad | None:
        """A seal, the end, or an entry in FHIR or ATNA."""
        kind, value, around = _record(raw)
        if self._ended or not kind:
            return self._bad("edited")
        if kind == "entry":
            self._entries.append(value)
            self._lines.append(hashlib.sha256(raw).digest()[:DIGEST_BYTES])
            self._all.update(raw)
            return self._bad("truncated") if len(self._entries) > MAX_ROWS else None
        if kind == "header" or not self._is_whole(value, around):
            return self._bad("edited")
        if kind == "end":
            return self._end(value)
        self._all.update(raw)
        bad = self._close(value)
        if bad is None and self.result.head.partition(":")[0] == str(self._wanted.segment):
            self._met = True
            if self.result.head != f"{self._wanted.segment}:{self._wanted.head}":
                return Bad("restored", self._wanted.segment, line=self._line)
        return bad

    def _close(self, seal: dict[str, Any]) -> Bad | None:
        try:
            digests = bytes.fromhex(seal["digests"])
            head = bytes.fromhex(seal["head"])
            number = int(seal["segment"])
            is_next = (number, int(seal["from_n"])) == (self._next, self._from_n)
            follows = bytes.fromhex(seal["previous_head"]) == self._previous
            is_whole = len(digests) == DIGEST_BYTES * int(seal["entries"])
            computed = head_of(seal, self._previous, digests)
            signature = bytes.fromhex(seal.get("signature") or "")
            rendered = bytes.fromhex(seal.get("lines") or "")
        except (KeyError, TypeError, ValueError, struct.error):
            return self._bad("seal")
        if not (is_next and follows and is_whole and computed == head):
            return self._bad("seal")
        bad = self._compare(digests) or self._compare_lines(rendered)
        if bad is not None:
            return bad
        key = str(seal.get("key") or "")
        if key:
            wrong = self._keys.wrong(key, seal_message(number, head), signature)
            if wrong is not None:
                return self._bad(wrong)
            self.result.signed += 1
            if key not in self.result.keys:
                self.result.keys.append(key)
        elif self.result.signed:
            return self._bad("signature")
        self._is_last_signed = bool(key)
        self._last_seal_line = self._line
        self.result.segments += 1
        self.result.entries += len(self._entries)
        self.result.head = f"{number}:{head.hex()}"
        self._previous, self._next, self._from_n = head, number + 1, int(seal["to_n"])
        self._entries, self._lines = [], []
        if self._progress is not None:
            self._progress(self.result.entries)
        return None

    def _compare(self, digests: bytes) -> Bad | None:
        sha256 = hashlib.sha256
        found = [sha256(entry).digest()[:DIGEST_BYTES] for entry in self._entries]
        if b"".join(found) == digests:
            return None
        sealed = [digests[at : at + DIGEST_BYTES] for at in range(0, len(digests), DIGEST_BYTES)]
        place = 0
        while place < min(len(found), len(sealed)) and found[place] == sealed[place]:
            place += 1
        kind = kind_of(sealed, found, place)
        return self._bad(kind, self._line - len(found) + place, self._number(place, kind))

    def _number(self, place: int, kind: str) -> int | None:
        """The number of the entry at `place`; of the first missing one, if it can be told."""
        at = place - 1 if kind == "deleted" else place
        if at < 0:
            return self._from_n + 1 if self._from_n else None
        try:
            n = int(self._entries[at].split(b",", 2)[1])
        except (ValueError, IndexError):
            return None
        return n + 1 if kind == "deleted" else n

    def _compare_lines(self, rendered: bytes) -> Bad | None:
        """That each line in FHIR or ATNA is the one that was written for its entry."""
        for place, digest in enumerate(self._lines):
            if digest != rendered[place * DIGEST_BYTES : (place + 1) * DIGEST_BYTES]:
                return self._bad("edited", self._line - len(self._lines) + place)
        return None

    def _end(self, end: dict[str, Any]) -> Bad | None:
        """The last line: how many segments there are, and the digest of every line before it."""
        self._ended = True
        if self._entries or end.get("end") != self.result.segments:
            return self._bad("truncated")
        if self._layout == 1:
            return None
        if end.get("sha256") != self._all.hexdigest():
            return self._bad("edited")
        if end.get("key"):
            signature = str(end.get("signature") or "")
            try:
                wrong = self._keys.wrong(
                    str(end["key"]), export_message(self._all.digest()), bytes.fromhex(signature)
                )
            except ValueError:
                wrong = "signature"
            if wrong is not None:
                return self._bad(wrong)
            self.result.export_signed = True
        return None

    def _finish(self) -> Bad | None:
        if not self._ended:
            return self._bad("truncated", self._line + 1)
        if self._keys.is_anchored and self.result.segments and not self._is_last_signed:
            return Bad("signature", self._next - 1, line=self._last_seal_line)
        if not self._met:
            return Bad("restored", self._wanted.segment, line=self._line)
        return None


def _record(raw: bytes) -> tuple[str, Any, bytes]:
    """What a line is, what it says, and in FHIR and ATNA what stands around that.

    An entry is its canonical bytes, the rest an object. Nothing, of a line that is neither.
    """
    carried = _CARRIED.findall(raw)
    try:
        if not carried:
            value = json.loads(raw)
            kind = next((k for k in ("seal", "end", "format") if k in value), "")
            if raw != compact(value) or (kind == "seal" and len(value) != 1):
                return "", {}, b""
            return ("header" if kind == "format" else kind), value.get("seal", value), b""
        if len(carried) != 1 or raw[-1:] != b"\n":
            return "", {}, b""
        kind, text = carried[0][0].decode(), carried[0][1]
        data = base64.b64decode(text, validate=True)
        if base64.b64encode(data) != text:
            return "", {}, b""
        if kind == "entry":
            return kind, data, b""
        value = json.loads(data)
        if data + b"\n" != compact(value):
            return "", {}, b""
        return kind, value, raw.replace(text, b"", 1)
    except (ValueError, AttributeError, TypeError, RecursionError):
        return "", {}, b""


def marked(value: dict[str, Any], around: bytes) -> dict[str, Any]:
    """A header, seal or end with the digest of its own line (`self`), so that a changed byte is named here."""
    said = {name: one for name, one in value.items() if name != "self"}
    return {**said, "self": hashlib.sha256(around + compact(said)).hexdigest()}


def compact(value: dict[str, Any]) -> bytes:
    """The one way a line of JSON is written."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def verify(
    path: Path,
    anchors: tuple[bytes, ...] = (),
    head: Head | None = None,
    progress: Callable[[int], None] | None = None,
) -> Result:
    """Prove an exported file. Raises Unreadable."""
    with _lines(path) as lines:
        return Walk(anchors, head or Head()).run(lines, progress)


@contextmanager
def _lines(path: Path) -> Iterator[Iterator[bytes]]:
    try:
        if not zipfile.is_zipfile(path):
            with path.open("rb") as stream:
                yield _bounded(stream)
            return
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if len(names) != 1:
                raise Unreadable("the archive holds more than an export")
            with archive.open(names[0]) as member:
                yield _bounded(member)
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise Unreadable("cannot be read") from error


def _bounded(stream: IO[bytes]) -> Iterator[bytes]:
    read = stream.readline
    while line := read(MAX_LINE_BYTES + 1):
        if len(line) > MAX_LINE_BYTES:
            raise Unreadable("a line is too long")
        yield line


def said(result: Result) -> str:
    """The result in words."""
    bad = result.bad
    if bad is not None:
        entry = "" if bad.n is None else f" at entry {bad.n}"
        line = "" if bad.line is None else f", line {bad.line} of the file"
        return f"NOT PROVED: {bad.kind}{entry} in segment {bad.segment}{line}"
    signed = (
        f"{result.signed} signed by {', '.join(result.keys)}" if result.signed else "none signed"
    )
    return f"proved: {result.entries} entries in {result.segments} segments, {signed}" + (
        f"; head {result.head}" if result.head else ""
    )


def main(arguments: list[str] | None = None) -> int:
    """The command. Returns its exit code."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("Longer than")[0],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=Path, help="the export: .jsonl, .zip, or in FHIR or ATNA")
    parser.add_argument(
        "--key", type=Path, action="append", default=[], help="a public key that you trust (PEM)"
    )
    parser.add_argument(
        "--head", type=Path, help="a file with a head noted earlier; its last line counts"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args(arguments)
    try:
        anchors = tuple(public_key_of(path.read_text(encoding="ascii")) for path in given.key)
        head = Head.read(given.head.read_text(encoding="ascii")) if given.head else Head()
        result = verify(given.file, anchors, head, _told if sys.stderr.isatty() else None)
    except (Unreadable, OSError, UnicodeDecodeError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    if given.json:
        bad = vars(result.bad) if result.bad else None
        text = json.dumps({"good": bad is None, **vars(result), "bad": bad})
    else:
        text = said(result)
    sys.stdout.write(text + "\n")
    return 0 if result.bad is None else 1


def _told(entries: int) -> None:
    sys.stderr.write(f"\r{entries} entries")


if __name__ == "__main__":
    sys.exit(main())
