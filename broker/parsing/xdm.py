"""Reads IHE XDM archives (zip): the documents with their XDS metadata, refusing whatever a zip can do to harm.

Nothing is written to disk and no inner archive is opened. Source: IHE ITI TF-2 3.32 "Distribute Document Set on
Media"; layout as senders really make it: any case, backslashes, no URI, other folders, no metadata.
"""

from __future__ import annotations

import base64
import hashlib
import io
import re
import stat
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from broker.errors import ParseError
from broker.parsing.fhir import FhirMessage, message
from broker.parsing.media import recognise
from broker.parsing.xdm_metadata import Entry, document_reference, patient_keys_of, read_entries

MAX_BYTES = 64 * 1024 * 1024
MAX_TOTAL = 256 * 1024 * 1024
MAX_ENTRIES = 1_000
MAX_RATIO = 200
RATIO_FROM = 1024 * 1024
"""A file smaller than this may be compressed as well as it likes."""

_NOT_DOCUMENTS = re.compile(
    r"(?:index\.html?|readme\.txt|.*\.(?:xsl|xslt|css|swp)|thumbs\.db|desktop\.ini)", re.IGNORECASE
)
_MEDIA = {
    "cda": "application/cda+xml",
    "hl7v2": "x-application/hl7-v2+er7",
    "fhir-r4": "application/fhir+json",
    "xdm": "application/zip",
}
_BY_NAME = {
    "pdf": "application/pdf", "txt": "text/plain", "xml": "text/xml", "htm": "text/html",
    "html": "text/html", "jpg": "image/jpeg", "jpeg": "image/jpeg", "png": "image/png",
    "gif": "image/gif", "tif": "image/tiff", "tiff": "image/tiff", "dcm": "application/dicom",
    "rtf": "text/rtf",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class XdmDocument:
    """One document of the archive.

    name: path inside the archive, with forward slashes
    media: as its metadata declares it, else as recognised
    metadata: the document entry by XDS attribute name (`uniqueId`, `typeCode`...), empty when there was none
    """

    name: str
    media: str
    body: bytes = field(repr=False)
    metadata: dict[str, Any] = field(repr=False)

    def described(self, *, with_content: bool) -> FhirMessage:
        """The metadata as a FHIR DocumentReference (IHE MHD), so that one mapping serves both.

        with_content: the bytes too, for a document of no format of ours (PDF, text, image).
        """
        resource = document_reference(self.metadata, self.media)
        if with_content:
            data = base64.b64encode(self.body).decode("ascii")
            resource["content"][0]["attachment"]["data"] = data
        return message(resource, self.body)


@dataclass(frozen=True, slots=True)
class XdmArchive:
    """The documents of one archive, in the order of the archive.

    missing: URIs the metadata names and the archive does not hold
    """

    documents: list[XdmDocument]
    body: bytes = field(repr=False)
    missing: tuple[str, ...] = field(repr=False, default=())
    format_name: str = "xdm"


def parse(body: bytes) -> XdmArchive:
    """Read an XDM archive.

    Raises: ParseError `xdm.malformed`, `xdm.unsafe_name`, `xdm.not_a_file`, `xdm.duplicate_name`, `xdm.bomb`,
    `xdm.too_many_entries`, `xdm.too_large`, `xdm.encrypted`, `xdm.compression`, `xdm.no_document`; `where` is the
    number of the entry, never its name. `xml.*` when the metadata itself is refused.
    """
    files = unpack(body)
    entries = list(_metadata(files))
    documents, missing = _documents(files, entries)
    if not documents:
        raise ParseError("xdm.no_document", reason="the archive holds no document")
    return XdmArchive(documents, body, missing)


def patient_keys(body: bytes) -> tuple[tuple[str, str], ...]:
    """The (root, extension) of the patient of the first document entry; empty when the archive names none."""
    try:
        files = unpack(body)
        entries = list(_metadata(files))
    except ParseError:
        return ()
    return patient_keys_of(entries[0].metadata) if entries else ()


def unpack(body: bytes) -> dict[str, bytes]:
    """The files of a zip by normalised path, after every check; directories and housekeeping left out."""
    if len(body) > MAX_BYTES:
        raise ParseError("xdm.too_large", reason=f"more than {MAX_BYTES} bytes")
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            return _contents(archive)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError,
            RuntimeError, IndexError, UnicodeDecodeError):  # fmt: skip
        raise ParseError("xdm.malformed", reason="not a readable zip archive") from None


def _contents(archive: zipfile.ZipFile) -> dict[str, bytes]:
    members = archive.infolist()
    if len(members) > MAX_ENTRIES:
        raise ParseError("xdm.too_many_entries", reason=f"more than {MAX_ENTRIES} entries")
    names = _safe_names(members)
    _refuse_overlaps(members)
    _refuse_bombs(members)
    return {
        name: _read(archive, member, f"entry {number}")
        for number, (name, member) in enumerate(zip(names, members, strict=True), 1)
        if not member.is_dir() and not name.endswith("/") and not _is_housekeeping(name)
    }


def _safe_names(members: list[zipfile.ZipInfo]) -> list[str]:
    names: list[str] = []
    seen: set[str] = set()
    for number, member in enumerate(members, 1):
        where = f"entry {number}"
        name = _safe_name(member.orig_filename, where)
        _refuse_special(member, where)
        folded = name.rstrip("/").casefold()
        if folded in seen:
            raise ParseError("xdm.duplicate_name", where=where, reason="two entries of one name")
        seen.add(folded)
        names.append(name)
    return names


def _safe_name(name: str, where: str) -> str:
    """The path with forward slashes; refused when it could mean a place outside the archive."""
    path = name.replace("\\", "/")
    parts = path.rstrip("/").split("/")
    if (
        not path.strip("/ .")
        or path.startswith("/")
        or ":" in path
        or any(part in ("", ".", "..") or part != part.strip() for part in parts)
        or any(ord(char) < 32 or ord(char) == 127 or char in _BIDI for char in path)
        or len(path) > 512
    ):
        raise ParseError("xdm.unsafe_name", where=where, reason="a name that is not a plain path")
    return path


_BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u2215\u2044\uff0f\uff3c")
"""Marks that turn a name around, and look-alikes of the slash."""


def _refuse_special(member: zipfile.ZipInfo, where: str) -> None:
    mode = stat.S_IFMT(member.external_attr >> 16)
    if mode not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise ParseError("xdm.not_a_file", where=where, reason="a link, device or pipe")
    if member.flag_bits & 0x1:
        raise ParseError("xdm.encrypted", where=where, reason="an encrypted entry")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ParseError("xdm.compression", where=where, reason="neither stored nor deflated")


def _refuse_overlaps(members: list[zipfile.ZipInfo]) -> None:
    """Entries that share bytes make a bomb of ordinary ratios (overlapping local headers)."""
    end = 0
    for member in sorted(members, key=lambda member: member.header_offset):
        if member.header_offset < end:
            raise ParseError("xdm.bomb", reason="entries that overlap")
        end = member.header_offset + 30 + member.compress_size


def _refuse_bombs(members: list[zipfile.ZipInfo]) -> None:
    if sum(member.file_size for member in members) > MAX_TOTAL:
        raise ParseError("xdm.too_large", reason=f"more than {MAX_TOTAL} bytes unpacked")
    for number, member in enumerate(members, 1):
        if member.file_size > RATIO_FROM and member.file_size > MAX_RATIO * member.compress_size:
            raise ParseError("xdm.bomb", where=f"entry {number}", reason="compressed beyond belief")


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo, where: str) -> bytes:
    """The bytes of one entry; never more than it declared, so the sums above are true."""
    with archive.open(member) as file:
        data = file.read(member.file_size + 1)
    if len(data) != member.file_size:
        raise ParseError(
            "xdm.malformed", where=where, reason="an entry of another size than declared"
        )
    return data


def _is_housekeeping(name: str) -> bool:
    parts = name.split("/")
    return parts[0].upper() == "__MACOSX" or any(part.startswith(".") for part in parts)


def _metadata(files: dict[str, bytes]) -> Iterator[Entry]:
    for name, data in files.items():
        folder, _, last = name.rpartition("/")
        if last.upper() == "METADATA.XML":
            yield from read_entries(data, folder)


def _documents(
    files: dict[str, bytes], entries: list[Entry]
) -> tuple[list[XdmDocument], tuple[str, ...]]:
    """Every document file with the entry that describes it; files nobody describes are documents too."""
    candidates = {name: data for name, data in files.items() if _may_be_document(name, entries)}
    described, missing = _match(candidates, entries)
    if not described:
        chosen = candidates
    else:
        folders = {name.rpartition("/")[0].casefold() for name in described}
        chosen = {
            name: data
            for name, data in candidates.items()
            if name in described or _in_submission(name, folders)
        }
    documents = [_document(name, data, described.get(name)) for name, data in chosen.items()]
    return documents, missing


def _may_be_document(name: str, entries: list[Entry]) -> bool:
    last = name.rpartition("/")[2]
    if last.upper() == "METADATA.XML":
        return False
    named = any(entry.uri_name().casefold() == last.casefold() for entry in entries)
    return named or not _NOT_DOCUMENTS.fullmatch(last)


def _in_submission(name: str, folders: set[str]) -> bool:
    return name.rpartition("/")[0].casefold() in folders


def _match(
    files: dict[str, bytes], entries: list[Entry]
) -> tuple[dict[str, Entry], tuple[str, ...]]:
    """Entry by file: by URI in any case, then by hash, then by being the only ones left in a folder."""
    described: dict[str, Entry] = {}
    open_entries: list[Entry] = []
    for entry in entries:
        name = _by_uri(files, entry) or _by_hash(files, entry)
        if name and name not in described:
            described[name] = entry
        elif not name:
            open_entries.append(entry)
    missing: list[str] = []
    for entry in open_entries:
        left = [name for name in files if name not in described and _beside(name, entry)]
        if len(left) == 1:
            described[left[0]] = entry
        else:
            missing.append(entry.uri)
    return described, tuple(missing)


def _by_uri(files: dict[str, bytes], entry: Entry) -> str:
    if not entry.uri:
        return ""
    wanted = f"{entry.folder}/{entry.uri}".lstrip("/").casefold()
    exact = [name for name in files if name.casefold() == wanted]
    beside = [
        name for name in files
        if _beside(name, entry)
        and name.rpartition("/")[2].casefold() == entry.uri_name().casefold()
    ]  # fmt: skip
    return next(iter(exact or beside), "")


def _by_hash(files: dict[str, bytes], entry: Entry) -> str:
    wanted = str(entry.metadata.get("hash", "")).lower()
    if not wanted:
        return ""
    for name, data in files.items():
        if hashlib.sha1(data, usedforsecurity=False).hexdigest() == wanted:
            return name
    return ""


def _beside(name: str, entry: Entry) -> bool:
    return name.rpartition("/")[0].casefold() == entry.folder.casefold()


def _document(name: str, data: bytes, entry: Entry | None) -> XdmDocument:
    metadata = {} if entry is None else entry.metadata
    media = str(metadata.get("mimeType") or "") or _media(name, data)
    return XdmDocument(name, media, data, metadata)


def _media(name: str, data: bytes) -> str:
    if data[:5] == b"%PDF-":
        return "application/pdf"
    known = _MEDIA.get(recognise(data))
    extension = name.rpartition(".")[2].lower()
    return known or _BY_NAME.get(extension, "application/octet-stream")
