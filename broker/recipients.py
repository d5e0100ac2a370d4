"""Whom a document goes to, of the recipients it names, at a destination that is owed it once for each. Pure.

A recipient's own address is taken, then the person's, and the organisation's where no person is named; of several that
may be written to the one of MSSanté first. The patient is never written to: their address is their INS, and whether
they may see the document is the record's to say.
Source: ANS, CI-SIS "Transmission d'un document CDA-R2 en HL7v2" 2.1 (PRT-15 of the recipients, `patient.mssante.fr`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from broker.contracts import PerRecipient
from broker.document import Document, Recipient

NONE, NOT_ASKED, NO_ADDRESS, PATIENT, MALFORMED, DOMAIN, TOO_MANY, TAKEN_BACK = (
    "recipient.none",
    "recipient.not_asked",
    "recipient.no_address",
    "recipient.patient",
    "recipient.malformed",
    "recipient.domain",
    "recipient.too_many",
    "recipient.taken_back",
)
"""Why nobody, or not somebody, is written to: reason codes."""

_KINDS = ("mssante", "email")
_PATIENT = "patient"
"""The label of the domain of patients' mailboxes (`patient.mssante.fr`); what stands before it is an INS."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A recipient whose address the sender gave and that is not written to: why, and which of the list it is.

    address: empty where the text is no address
    """

    reason: str
    place: str
    address: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Addressed:
    """What becomes of the recipients of one document: `left` counts those with nothing to write to, by reason."""

    addresses: tuple[str, ...] = field(default=(), repr=False)
    refused: tuple[Refused, ...] = ()
    left: Counter[str] = field(default_factory=Counter)

    @property
    def names_addresses(self) -> bool:
        """Whether the sender gave an address of anybody but the patient."""
        return bool(self.addresses or self.refused)


def is_declined(document: Document) -> bool:
    """Whether the sender says that the document is not to be mailed to professionals (DESTMSSANTEPS = N).

    A CDA in it may name recipients all the same: that list is the document's, and not whom to send it to.
    """
    asked = document.delivery
    return asked is not None and asked.mssante_professional is False


def addressed(document: Document, asked: PerRecipient) -> Addressed:
    """The recipients of a document by what becomes of each; an address that stands twice is one."""
    found: dict[str, None] = {}
    refused: dict[str, Refused] = {}
    left: Counter[str] = Counter()
    own = _own(document)
    for number, recipient in enumerate(document.recipients, 1):
        texts = list(_mails(recipient))
        addresses = list(filter(None, map(asked.address, texts)))
        if _has_ins(recipient) or any(_is_patients(one) or _folded(one) in own for one in texts):
            left[PATIENT] += 1
            continue
        if not texts:
            left[NO_ADDRESS] += 1
            continue
        place = f"recipients[{number}]"
        taken = next(filter(asked.takes, addresses), "")
        if taken:
            found[taken] = None
        elif addresses:
            refused.setdefault(addresses[0], Refused(DOMAIN, place, addresses[0]))
        else:
            refused.setdefault(place, Refused(MALFORMED, place))
    return Addressed(tuple(found), tuple(refused.values()), left)


def outlook(document: Document, asked: PerRecipient) -> tuple[int, str]:
    """(how many a document would be owed to, or why it would be to nobody), for whoever asks before it is routed."""
    if is_declined(document):
        return 0, NOT_ASKED
    found = addressed(document, asked)
    if len(found.addresses) + len(found.refused) > asked.most:
        return 0, TOO_MANY
    if not found.addresses:
        return 0, found.refused[0].reason if found.refused else NONE
    return len(found.addresses), ""


def of_addresses(addresses: Sequence[str], asked: PerRecipient) -> Addressed:
    """Addresses that a document went to before, by what becomes of each now."""
    refused = [one for one in addresses if not asked.takes(one)]
    return Addressed(
        tuple(one for one in addresses if asked.takes(one)),
        tuple(Refused(DOMAIN, "recipients", one) for one in refused),
    )


def _mails(recipient: Recipient) -> Iterator[str]:
    """What stands where mail addresses do, MSSanté first; of the nearest that has any."""
    person, place = recipient.person, recipient.organization
    theirs = person.telecoms if person else place.telecoms if place else ()
    for telecoms in (recipient.telecoms, theirs):
        mails = [one for one in telecoms if one.kind in _KINDS or "@" in one.value]
        if mails:
            yield from (one.value for one in sorted(mails, key=lambda one: one.kind != "mssante"))
            return


def _has_ins(recipient: Recipient) -> bool:
    """Whether a recipient is a patient by what the sender says of them."""
    person = recipient.person
    numbers = person.identifiers if person is not None else ()
    return bool(recipient.patient) or any(one.kind.startswith("INS") for one in numbers)


def _is_patients(text: str) -> bool:
    """Whether a text is meant to be the mailbox of a patient, well-formed or not."""
    return _PATIENT in _folded(text).rpartition("@")[2].split(".")


def _own(document: Document) -> frozenset[str]:
    """What the patient is reached by; a recipient who has it is the patient, or lives with them."""
    patient = document.patient
    if patient is None:
        return frozenset()
    return frozenset(_folded(one.value) for one in patient.phones)


def _folded(text: str) -> str:
    return text.strip().lower()
