"""The SubmissionSet of a transaction: who asks for the sharing, of what, for whom. For `broker.writing.fhir`.

The id of the source system (`ihe-sourceId`) and the kind of submission (`ihe-designationType`) are the site's: a mapping
`to: fhir-r4` may add them.
Source: IHE MHD 4.2 "Provide Document Bundle", List; FHIR R4 (4.0.1) List.
"""

from __future__ import annotations

from broker.document import Document, Recipient
from broker.writing import fhir_types as types
from broker.writing.fhir_entries import Entries, unknown
from broker.writing.fhir_types import Json, filled

_MHD = "https://profiles.ihe.net/ITI/MHD"
_KIND = {"coding": [{"system": f"{_MHD}/CodeSystem/MHDlistTypes", "code": "submissionset"}]}


def submission_set(entries: Entries, document: Document, subject: str, reference: str) -> Json:
    """The List; its people are contained, as MHD has them. Its date is when the broker received the message."""
    received = types.date_time(types.when_of(document.source.received_at))
    contained: list[Json] = []
    people = types.Contained(contained)
    source = people.author(document.sender or next(iter(document.authors), None))
    recipients = [one for item in document.recipients if (one := _recipient(people, item))]
    resource = filled(
        resourceType="List",
        contained=contained,
        extension=[
            {"url": f"{_MHD}/StructureDefinition/ihe-intendedRecipient", "valueReference": one}
            for one in recipients
        ],
        identifier=[
            {"system": "urn:ietf:rfc:3986", "value": entries.url("submission set")},
        ],
        status="current",
        mode="working",
        title=document.title,
        code=_KIND,
        subject=types.reference(subject),
        date=received or types.date_time(document.created_at),
        source=source,
        entry=[{"item": {"reference": reference}}],
    )
    if "date" not in resource:
        resource["_date"] = unknown()
    return resource


def _recipient(people: types.Contained, item: Recipient) -> Json | None:
    if item.person is not None:
        return people.person(item.person)
    return people.organization(item.organization)
