"""The manifest of former records to take over: one person a line, as JSON. Shapes and their checks; no I/O.

Files are named, never embedded; a name is a path below the folder of documents.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Literal

import msgspec


class Closed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A line of the manifest has these fields and no others."""


class FormerAuthor(Closed, frozen=True, kw_only=True):
    """Who wrote a document: national id, name and profession (`G15_10/SM26`) as they were."""

    id: str = ""
    family: str = ""
    given: str = ""
    profession: str = ""
    structure: str = ""


class FormerDocument(Closed, frozen=True, kw_only=True):
    """A document: `id` is its unique id (an OID, or any id with its `system`), `codes` its confidentiality codes."""

    id: str
    file: str
    filed: datetime
    system: str = ""
    media: str = "application/pdf"
    title: str = ""
    type: str = ""
    type_system: str = "http://loinc.org"
    created: str = ""
    codes: tuple[str, ...] = ("N",)
    author: FormerAuthor = FormerAuthor()


class FormerAccess(Closed, frozen=True, kw_only=True):
    """A line of the access list: who looked, when, and how many documents they read."""

    id: str
    at: datetime
    name: str = ""
    profession: str = ""
    structure: str = ""
    mode: Literal["normal", "bris_de_glace", "centre_15"] = "normal"
    motive: str = ""
    read: int = 0


class FormerRecord(Closed, frozen=True, kw_only=True):
    """One person's record: the INS (`system` is its OID), traits, content, masks in the documents' codes, blocks, accesses.

    status: `ACTIF`, or `FERME` with the day of the closing: such a record is archived, and comes back on request.
    """

    system: str
    value: str
    family: str = ""
    given: str = ""
    born: date | None = None
    mail: str = ""
    status: Literal["ACTIF", "FERME"] = "ACTIF"
    closed: datetime | None = None
    documents: tuple[FormerDocument, ...] = ()
    blocked: tuple[str, ...] = ()
    access: tuple[FormerAccess, ...] = ()

    def __post_init__(self) -> None:
        moments = [one.filed for one in self.documents] + [one.at for one in self.access]
        moments += [self.closed] if self.closed is not None else []
        if any(moment.tzinfo is None for moment in moments):
            raise ValueError("an instant needs its offset")
        if self.status == "FERME" and self.closed is None:
            raise ValueError("closed: the day of the closing is missing")


_DECODER = msgspec.json.Decoder(FormerRecord)


def read_line(line: bytes) -> FormerRecord:
    """One line. Raises: ValueError that names the place (`$.documents[0].filed`), never the value."""
    try:
        return _DECODER.decode(line)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from error
    except msgspec.DecodeError as error:
        raise ValueError("not JSON") from error
