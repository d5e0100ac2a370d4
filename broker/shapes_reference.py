"""The shapes as a page: what each is made from in HL7v2, CDA and FHIR, and an example of each, for `docs/make.py`.

Types and notes are those of the registries and their docstrings. The examples are mapped when the page is made, by
mappings of one rule, so what they show is what the engine does.
"""

from __future__ import annotations

import inspect
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from broker.document import Document
from broker.mapper import Given, Mapper
from broker.mapping import catalogue, shapes_cda, shapes_fhir, shapes_hl7v2, types_hl7v2
from broker.mapping.shape_names import SHAPE_NAMES
from broker.mapping.targets import targets_of
from broker.settings import installed_folder

_MSH = r"MSH|^~\&|A|B|C|D|20261124091500||ORU^R01|1|P|2.5|||||FRA|UNICODE UTF-8"
_CDA = (
    '<ClinicalDocument xmlns="urn:hl7-org:v3" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
    "{}</ClinicalDocument>"
)
_HEADS = {
    "hl7v2": "hl7v2\napplies_when: MSH-9 is present",
    "cda": "cda\napplies_when: . is present",
    "fhir-r4": "fhir-r4\napplies_when: . is present",
}
_SPELLED = {"str": "text", "int": "integer", "bool": "boolean"}


@dataclass(frozen=True, slots=True)
class Example:
    """A piece of a message, the path that is read in it, and the target field that is filled."""

    format: str
    source: str
    path: str
    field: str


EXAMPLES: Mapping[str, tuple[Example, ...]] = {
    "identifier": (
        Example("hl7v2", "PID|||279053899904288^^^ASIP-SANTE-INS-NIR&1.2.250.1.213.1.4.10&ISO^INS", "PID-3", "patient.identifiers"),
        Example("cda", '<id root="1.2.250.1.999.1.1" extension="PI042" assigningAuthorityName="CHU"/>', "id", "patient.identifiers"),
        Example("fhir-r4", '{"resourceType": "Patient", "identifier": [{"system": "urn:oid:1.2.250.1.999.1.1", "value": "PI042"}]}', "Patient.identifier", "patient.identifiers"),
    ),
    "coded": (
        Example("hl7v2", "OBR||||718-7^Hemoglobin^LN^HB^Hémoglobine^L", "OBR-4", "type_code"),
        Example("cda", '<code code="718-7" codeSystem="2.16.840.1.113883.6.1"><translation code="HB"/></code>', "code", "type_code"),
        Example("fhir-r4", '{"resourceType": "Observation", "code": {"coding": [{"system": "http://loinc.org", "code": "718-7"}], "text": "Hb"}}', "Observation.code", "type_code"),
    ),
    "person_name": (
        Example("hl7v2", "PID|||||EXEMPLE^ALBERTINE^JEANNE^^MME^^L", "PID-5", "patient.names"),
        Example("cda", '<name><family qualifier="BR">EXEMPLE</family><given>ALBERTINE</given></name>', "name", "patient.names"),
        Example("fhir-r4", '{"resourceType": "Patient", "name": [{"use": "official", "family": "EXEMPLE", "given": ["ALBERTINE"]}]}', "Patient.name", "patient.names"),
    ),
    "person": (
        Example("hl7v2", "OBR||||||||||||||||899900000017^MEDECIN^PAULE^^^DR^^^&1.2.250.1.71.4.2.1&ISO^D", "OBR-16", "reports.requester"),
        Example("cda", "<assignedEntity><assignedPerson><name><family>MEDECIN</family></name></assignedPerson></assignedEntity>", "assignedEntity", "reports.requester"),
    ),
    "organization": (
        Example("hl7v2", "ORC|||||||||||||||||||||LABO EXEMPLE^^^^^&1.2.250.1.999.7.1&ISO^XX^^^L7", "ORC-21", "custodian"),
        Example("cda", '<representedOrganization><id root="1.2.250.1.999.7.1"/><name>LABO EXEMPLE</name></representedOrganization>', "representedOrganization", "custodian"),
    ),
    "address": (
        Example("hl7v2", "PID|||||||||||1 RUE DE L'EXEMPLE^^VILLE^^99000^FRA^H", "PID-11", "patient.addresses"),
        Example("cda", '<addr use="H"><streetAddressLine>1 RUE DE L\'EXEMPLE</streetAddressLine><city>VILLE</city></addr>', "addr", "patient.addresses"),
    ),
    "telecom": (
        Example("hl7v2", "PID|||||||||||||^PRN^CP^^^^^^^^^0600000000", "PID-13", "patient.phones"),
        Example("cda", '<telecom value="mailto:nobody@exemple.invalid" use="HP"/>', "telecom", "patient.phones"),
    ),
    "when": (
        Example("hl7v2", "OBR|||||||202611240800+0100", "OBR-7", "created_at"),
        Example("cda", '<effectiveTime value="20261124"/>', "effectiveTime", "created_at"),
        Example("fhir-r4", '{"resourceType": "Observation", "effectiveDateTime": "2026-11"}', "Observation.effective", "created_at"),
    ),
    "period": (
        Example("cda", '<effectiveTime><low value="20261101"/><high value="20261124"/></effectiveTime>', "effectiveTime", ""),
    ),
    "quantity": (
        Example("hl7v2", "SPM||||||||||||1.950^mL", "SPM-12", "reports.specimens.quantity"),
        Example("cda", '<value value="1.950" unit="mL"/>', "value", "reports.specimens.quantity"),
    ),
    "ratio": (
        Example("cda", '<value xsi:type="RTO"><numerator value="1"/><denominator value="128"/></value>', "value", ""),
    ),
    "result_value": (
        Example("hl7v2", "OBX|1|SN|CRP^CRP^L||<^5|mg/L", "OBX-5", "observations.value"),
        Example("hl7v2", "OBX|1|NM|CRP^CRP^L||not done", "OBX-5", "observations.value"),
        Example("cda", '<value xsi:type="PQ" value="5.1" unit="mmol/L"/>', "value", "observations.value"),
        Example("fhir-r4", '{"resourceType": "Observation", "valueQuantity": {"value": 5.10, "unit": "mmol/L"}}', "Observation.value", "observations.value"),
    ),
    "range": (
        Example("hl7v2", "OBX|1|NM|CRP^CRP^L||3||<5", "OBX-7", "observations.reference_range"),
        Example("cda", '<value><low value="3.9" unit="mmol/L"/><high value="6.1" unit="mmol/L"/></value>', "value", "observations.reference_range"),
    ),
    "attachment": (
        Example("hl7v2", "OBX|1|ED|PDF^PDF^L||^application^pdf^Base64^JVBERi0xLjQK", "OBX-5", "attachments"),
    ),
    "author": (
        Example("hl7v2", "TXA|||||||||899900000017^MEDECIN^PAULE^^^DR^^^&1.2.250.1.71.4.2.1&ISO^D", "TXA-9", "authors"),
    ),
    "participant": (Example("hl7v2", "OBR||||||||||899900000017^MEDECIN^PAULE", "OBR-10", "participants"),),
    "recipient": (Example("hl7v2", "OBR||||||||||||||||||||||||||||899900000017^MEDECIN^PAULE", "OBR-28", "recipients"),),
    "contact": (Example("hl7v2", "NK1|1|EXEMPLE^CLAUDE^^^^^L", "NK1-2", "patient.contacts"),),
    "device": (Example("hl7v2", "OBX|1|NM|CRP^CRP^L||3|||||||||||||ANALYSER-1^LABO", "OBX-18", "observations.device"),),
    "location": (Example("hl7v2", "PV1|1|I|CARDIO^12^A^CHU", "PV1-3", ""),),
    "text": (Example("hl7v2", r"NTE|1||two\.br\lines", "NTE-3", "title"),),
    "code": (Example("hl7v2", "OBR||||718-7^Hemoglobin^LN", "OBR-4", "title"),),
    "decimal": (Example("hl7v2", "OBX|1|NM|CRP^CRP^L||1.950", "OBX-5", "title"),),
    "integer": (Example("hl7v2", "PID|1||||||||||||||||||||||||2", "PID-25", "patient.birth_order"),),
    "boolean": (Example("hl7v2", "PID|1|||||||||||||||||||||||Y", "PID-24", "patient.multiple_birth"),),
}  # fmt: skip


def page() -> str:
    """The reference page below its first line, Markdown."""
    lines = [
        "# Shapes",
        "",
        "A shape makes one type of the [document model](document-model.md) of one data type of a source.",
        "It is chosen by the two types; `as:` names it where several fit.",
        "No mapping says how a name or a date is read.",
        "A type that is not named here makes no such value, and lint says so as E117.",
        "A field of a Z segment has the type that is asked for.",
        "",
    ]
    for name, kind in SHAPE_NAMES.items():
        lines += _section(name, kind)
    return "\n".join(lines).rstrip() + "\n"


def shown(example: Example, kind: Any) -> Any:
    """What the example becomes, as JSON has it. Raises: SetupError where its mapping is none."""
    path = (example.field or field_of(kind)).split(".")
    rule = "\n".join(f"{'  ' * depth}{name}:" for depth, name in enumerate(path, 1))
    text = (
        f"mapping: example\nversion: 1.0.0\nlanguage: 1\nfrom: {_HEADS[example.format]}\n"
        f"document:\n{rule} {example.path}\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "example.yaml").write_text(text, encoding="utf-8")
        (Path(folder) / "tables").mkdir()
        shutil.copy(
            installed_folder("mappings") / "tables" / "systems.csv", Path(folder) / "tables"
        )
        mapper = Mapper(catalogue.load(Path(folder)))
    reading = mapper.read(_message(example), Given(message_id=_ID))
    if reading.failure is not None:
        raise reading.failure
    found = json.loads(msgspec.json.encode(reading.documents[0]))
    for name in path:
        found = found.get(name)
        found = found[0] if isinstance(found, list) else found
    return found


_ID = "0192f0c1-7c1a-7000-8000-000000000001"


def field_of(kind: Any) -> str:
    """The first field of the model, nearest to its top, that holds a type."""
    known = {Document}
    front: list[tuple[str, Any]] = [("", Document)]
    while front:
        behind: list[tuple[str, Any]] = []
        for path, struct in front:
            for name, target in targets_of(struct).items():
                if target.type is kind and not target.codes:
                    return f"{path}{name}"
                if target.is_struct and target.type not in known:
                    known.add(target.type)
                    behind.append((f"{path}{name}.", target.type))
        front = behind
    raise LookupError(f"no field of the model is a {kind}")


def _message(example: Example) -> bytes:
    if example.format == "hl7v2":
        return f"{_MSH}\r{example.source}\r".encode()
    return (_CDA.format(example.source) if example.format == "cda" else example.source).encode()


def _section(name: str, kind: Any) -> Iterator[str]:
    yield from (
        f"## {name}",
        "",
        f"Makes {_link(kind)}.",
        "",
        "| from | types | |",
        "|---|---|---|",
    )
    yield from _from_hl7v2(kind)
    for source, shapes in (("CDA", shapes_cda.SHAPES), ("FHIR", shapes_fhir.SHAPES)):
        if kind in shapes:
            yield f"| {source} | | {_words(shapes[kind])} |"
    yield ""
    for example in EXAMPLES[name]:
        made = json.dumps(shown(example, kind), ensure_ascii=False, indent=2)
        yield from (f"`{example.path}` of", "", "```", example.source, "```", "", "becomes", "")
        yield from ("```json", made, "```", "")


def _from_hl7v2(kind: Any) -> Iterator[str]:
    shapes = shapes_hl7v2.SHAPES.get(kind)
    types = sorted(one for one in types_hl7v2.made_from(kind) if one.isalnum() and one.isupper())
    if shapes is None:
        words = _words(shapes_hl7v2.result_value) if kind is SHAPE_NAMES["result_value"] else ""
        if kind is str:
            yield "| HL7v2 | any | the first component, decoded; of TX, FT and with `as: text` the whole |"
        elif words:
            yield f"| HL7v2 | any of table 0125 | {words} |"
        return
    by_shape: dict[str, list[str]] = {}
    for one in types:
        by_shape.setdefault(_words(shapes.get(one) or shapes[""]), []).append(one)
    for words, names in by_shape.items():
        yield f"| HL7v2 | {', '.join(names)} | {words} |"


def _link(kind: Any) -> str:
    name = kind.__name__
    if name in _SPELLED:
        return _SPELLED[name]
    return f"[{name}](document-model.md#{name.lower()})"


def _words(shape: Any) -> str:
    """The first paragraph of a shape's docstring, on one line."""
    return " ".join((inspect.getdoc(shape) or "").partition("\n\n")[0].split()).replace("|", "\\|")
