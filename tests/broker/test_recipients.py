"""Whom a document goes to, of those it names."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.smtp import ADAPTER
from adapters.smtp_client import SmtpDestinationSettings
from broker.contracts import PerRecipient
from broker.document import Document, Identifier, Organization, Patient, Person, Recipient, Telecom
from broker.recipients import Addressed, Refused, addressed

INS = "279035121518989"
ANNE = "anne@ville.mssante.fr"


def asked(*domains: str) -> PerRecipient:
    settings = SmtpDestinationSettings(
        host="mail.invalid",
        sender="carnet@hospital.invalid",
        per_recipient=True,
        recipient_domains=domains or ("mssante.fr",),
    )
    found = ADAPTER.per_recipient(settings)
    assert found is not None
    return found


def mail(value: str, kind: str = "mssante") -> Telecom:
    return Telecom(value=value, kind=kind)


def named(*recipients: Recipient | str, patient: Patient | None = None) -> Addressed:
    made = (Recipient(telecoms=(mail(one),)) if isinstance(one, str) else one for one in recipients)
    return addressed(Document(id="x", patient=patient, recipients=tuple(made)), asked())


def test_an_address_that_stands_twice_is_one_however_it_is_written() -> None:
    found = named(ANNE, "Anne@Ville.MSSante.fr", f" mailto:{ANNE} ")

    assert found == Addressed((ANNE,))


def test_of_several_addresses_of_one_recipient_the_one_of_mssante_is_taken() -> None:
    found = named(Recipient(telecoms=(mail("anne@mssante.fr", "email"), mail(ANNE))))

    assert found.addresses == (ANNE,)


def test_of_several_addresses_the_one_that_may_be_written_to_is_taken() -> None:
    found = named(Recipient(telecoms=(mail("anne@webmail.invalid", "email"), mail(ANNE, "email"))))

    assert found == Addressed((ANNE,))


@pytest.mark.parametrize(
    ("recipient", "expected"),
    [
        (Recipient(telecoms=(mail("a@mssante.fr"),), person=Person(telecoms=(mail(ANNE),))), ("a@mssante.fr",)),
        (Recipient(person=Person(telecoms=(mail(ANNE),))), (ANNE,)),
        (Recipient(organization=Organization(telecoms=(mail(ANNE),))), (ANNE,)),
        (Recipient(person=Person(), organization=Organization(telecoms=(mail(ANNE),))), ()),
        (Recipient(telecoms=(Telecom(value=ANNE, kind="phone"),)), (ANNE,)),
        (Recipient(telecoms=(Telecom(value="0561000000", kind="phone"),)), ()),
    ],
)  # fmt: skip
def test_where_the_address_of_a_recipient_is_looked_for(
    recipient: Recipient, expected: tuple[str, ...]
) -> None:
    assert named(recipient).addresses == expected


@pytest.mark.parametrize(
    "recipient",
    [
        Recipient(patient=True, telecoms=(mail(ANNE),)),
        Recipient(
            person=Person(identifiers=(Identifier(value=INS, kind="INS-NIR"),)),
            telecoms=(mail("exemple@mssante.fr"),),
        ),
        "Jeanne@mssante.fr ",
        f"{INS}@patient.mssante.fr",
        f"{INS}@PATIENT.mssante.fr ",
        f"{INS}@patient.mssante.f",
        f"{INS}@patient.formation.mssante.fr",
        "two words@patient.mssante.fr",
        "jeanne@mssante.fr",
    ],
)
def test_the_patient_is_never_written_to(recipient: Recipient | str) -> None:
    patient = Patient(phones=(mail("jeanne@mssante.fr", "email"),))

    found = named(recipient, ANNE, patient=patient)

    assert found == Addressed((ANNE,), left=Counter({"recipient.patient": 1}))


@pytest.mark.parametrize(
    "address",
    ["luc@mssante.fr.evil.invalid", "luc@evilmssante.fr", "luc@fr", "luc@mssante.fr@evil.invalid"],
)
def test_a_domain_is_that_domain_or_one_below_it(address: str) -> None:
    found = named("luc@mssante.fr", address)

    assert found.addresses == ("luc@mssante.fr",)
    assert len(found.refused) == 1


@pytest.mark.parametrize(
    "text",
    ["luc ville.mssante.fr", "luc@ville.mssante.fr\r\nBcc: x@mssante.fr", "<luc@mssante.fr>", "é@mssante.fr",
     "a@mssante.fr,b@mssante.fr", "@mssante.fr", f"{'x' * 250}@mssante.fr"],
)  # fmt: skip
def test_what_is_no_address_is_said_by_its_place(text: str) -> None:
    found = named(ANNE, text)

    assert found == Addressed((ANNE,), (Refused("recipient.malformed", "recipients[2]"),))


DOMAINS = (
    "mssante.fr",
    "Ville.MSSante.fr",
    "evilmssante.fr",
    "mssante.fr.invalid",
    "patient.mssante.fr",
    "",
)
NEAR = st.builds(
    "{}@{}".format, st.text(st.sampled_from("ab.@ <>\r\n"), max_size=4), st.sampled_from(DOMAINS)
)


@given(st.lists(st.text(max_size=40) | st.emails() | NEAR, max_size=6))
def test_nobody_outside_the_domains_is_ever_written_to(texts: list[str]) -> None:
    found = named(*texts)

    assert all(one.endswith((".mssante.fr", "@mssante.fr")) for one in found.addresses)
    assert len(set(found.addresses)) == len(found.addresses)
    assert not any(text in str(found) for text in texts if "@" in text)
