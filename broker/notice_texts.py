"""The texts of notices: templates in French and English, read once, filled when a notice is sent.

A template's first line is the subject, the rest the text; `$name` stands for what is filled in. Nothing that is filled
in comes from a document: names and address of the holder (letters), name and
day of birth of the patient (to a médecin traitant, by secure mail), a code, days, the link, the site's name.
"""

from __future__ import annotations

import html
import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from broker.accounts.notices import KINDS
from broker.document import Patient
from broker.errors import SetupError

LANGUAGES = ("fr", "en")
FIELDS = frozenset({"greeting", "code", "until", "day", "reference", "link", "site", "patient"})
"""What a template may ask for."""

_GREETINGS = {"fr": ("Bonjour,", "Bonjour {},"), "en": ("Hello,", "Dear {},")}
_MONTHS = {
    "fr": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    "en": "January February March April May June July August September October November December",
}


@dataclass(frozen=True, slots=True)
class Text:
    """A notice as it is read."""

    subject: str
    body: str = field(repr=False)


class Templates:
    """The templates of a folder. Raises: SetupError("notices.template") for one that is missing or asks for too much."""

    def __init__(self, folder: Path) -> None:
        self._texts = {
            (language, kind): self._read(folder / language / f"{kind}.txt")
            for language in LANGUAGES
            for kind in KINDS
        }
        self._letter = string.Template(_text(folder / "letter.html"))

    def text(self, kind: str, language: str, given: Mapping[str, str]) -> Text:
        """The text of one kind of notice, filled."""
        subject, body = self._texts[language, kind]
        whole = {name: given.get(name, "") for name in FIELDS}
        return Text(subject, body.substitute(whole))

    def letter(self, text: Text, language: str, address: str) -> bytes:
        """A letter to print: HTML on A4, the address where the window is."""
        paragraphs = [part for part in text.body.split("\n\n") if part.strip()]
        made = self._letter.substitute(
            language=language,
            subject=html.escape(text.subject),
            address=html.escape(address),
            paragraphs="\n".join(f"<p>{html.escape(part.strip())}</p>" for part in paragraphs),
        )
        return made.encode()

    def _read(self, path: Path) -> tuple[str, string.Template]:
        subject, _, body = _text(path).partition("\n\n")
        template = string.Template(body)
        unknown = set(template.get_identifiers()) - FIELDS if template.is_valid() else {"$"}
        if unknown or not body or "$" in subject:
            raise SetupError(
                "notices.template",
                where=str(path.name),
                reason=f"a template may ask for {', '.join(sorted(FIELDS))} alone",
            )
        return subject.strip(), template


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise SetupError(
            "notices.template", where=f"{path.parent.name}/{path.name}", reason="cannot be read"
        ) from error


def greeting(language: str, who: Patient | None) -> str:
    """`Bonjour Jeanne EXEMPLE,`; without a name in mails, which leave the house."""
    name = name_of(who)
    plain, named = _GREETINGS[language]
    return named.format(name) if name else plain


def name_of(who: Patient | None) -> str:
    """First given name and family name as they are used."""
    if who is None or not who.names:
        return ""
    usual = next((one for one in who.names if one.use in ("usual", "D", "U")), who.names[0])
    return " ".join(part for part in (*usual.given[:1], usual.family) if part)


def named(who: Patient | None, language: str) -> str:
    """`Jeanne EXEMPLE, né(e) le 28 mars 1979`: a patient to their physician; empty where no name is known."""
    name = name_of(who)
    try:
        born = date.fromisoformat(who.birth_date.value[:10]) if who and who.birth_date else None
    except ValueError:
        born = None
    if not name or born is None:
        return name
    since = "né(e) le" if language == "fr" else "born on"
    return f"{name}, {since} {day_words(born, language)}"


def address_of(who: Patient | None) -> str:
    """Name and postal address, a line each; empty where there is no address."""
    if who is None or not who.addresses:
        return ""
    one = who.addresses[0]
    lines = [name_of(who), *one.lines, " ".join(p for p in (one.postal_code, one.city) if p)]
    lines = [
        line
        for line in (*lines, one.country if one.country not in ("", "FRA", "FR") else "")
        if line
    ]
    return "\n".join(lines) if len(lines) > 1 else ""


def day_words(day: date, language: str) -> str:
    """`30 novembre 2026`."""
    month = _MONTHS[language].split()[day.month - 1]
    first = "1er" if day.day == 1 and language == "fr" else str(day.day)
    return f"{first} {month} {day.year}"
