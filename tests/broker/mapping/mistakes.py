"""Mistakes that engineers make in mapping files, each planted alone in a good one. For `test_mistakes`."""

from __future__ import annotations

from dataclasses import dataclass, field

HEAD = "mapping: site\nversion: 1.0.0\nlanguage: 1\nfrom: hl7v2\napplies_when: MSH-9.1 = 'ADT'\n"
GOOD = HEAD + "document:\n  title: PID-18\n"
SEX = "from,to\nM,male\nF,female\n"
BASE = (
    "mapping: base\nversion: 1.0.0\nlanguage: 1\nfrom: hl7v2\n"
    "document:\n  title: PID-18\n  patient:\n    names: PID-5[*]\n"
)


@dataclass(frozen=True)
class Mistake:
    """What was done, the text of `site.yaml`, and the files beside it."""

    what: str
    text: str
    files: dict[str, str] = field(default_factory=dict)


def _rules(what: str, rules: str, **files: str) -> Mistake:
    named = {name.replace("_", "."): text for name, text in files.items()}
    rest = "" if "document" in rules or "extends" in rules else "document:\n  title: PID-18\n"
    return Mistake(what, HEAD + rules + rest, {"sex.csv": SEX, **named})


def _extends(what: str, rules: str, base: str = BASE) -> Mistake:
    return _rules(what, "extends:\n  - base.yaml\n" + rules, base_yaml=base)


TABLE = "tables:\n  sex: sex.csv\n"
GROUPS = (
    "groups:\n  order:\n    starts: OBR\n    groups:\n      observation:\n        starts: OBX\n"
)

OUT = HEAD.replace("hl7v2", "document\nto: hl7v2").replace(
    "MSH-9.1 = 'ADT'", "kind = 'result_report'"
)
OUT_MSH = "segments:\n  - segment: MSH\n    fields:\n      MSH-9.1: = ORU\n"
OUT_BASE = (
    (OUT + OUT_MSH)
    .replace("mapping: site", "mapping: base")
    .replace("applies_when: kind = 'result_report'\n", "")
)

FHIR = OUT.replace("to: hl7v2", "to: fhir-r4") + (
    "extends:\n  - builtin:fhir-r4\nresources:\n  Patient:\n    birthDate: patient.birth_date\n"
)


def _writes(what: str, rules: str, **files: str) -> Mistake:
    named = {name.replace("_", "."): text for name, text in files.items()}
    return Mistake(what, OUT + OUT_MSH + rules, {"sex.csv": SEX, **named})


def _pid(what: str, rules: str) -> Mistake:
    return _writes(what, "  - segment: PID\n    fields:\n" + rules)


MISTAKES = [
    # YAML
    Mistake("a tab instead of blanks", HEAD + "document:\n\ttitle: PID-18\n"),
    _rules("a colon inside a plain text", "document:\n  title: = Report: final\n"),
    _rules("a path with brackets in flow style", "document: {authors: [PID-3[*]]}\n"),
    _rules("the same key twice", "document:\n  title: PID-18\n  title: PID-19\n"),
    _rules("an anchor", "document: &rules\n  title: PID-18\n"),
    _rules("a tag", "document:\n  title: !!str PID-18\n"),
    Mistake("two documents in a file", HEAD + "---\nmapping: other\n"),
    Mistake("a list instead of keys", "- mapping: site\n"),
    # the head of a file
    Mistake("no name", GOOD.replace("mapping: site\n", "")),
    Mistake("no version", GOOD.replace("version: 1.0.0\n", "")),
    Mistake("a language of tomorrow", GOOD.replace("language: 1", "language: 2")),
    Mistake("an unknown format", GOOD.replace("from: hl7v2", "from: hl7")),
    _rules("an unknown key of the file", "documnet:\n  title: PID-18\n"),
    _rules("an unknown default", "defaults:\n  time_zone: Europe/Paris\n"),
    _rules("a timezone that is none", "defaults:\n  timezone: Paris\n"),
    Mistake("a condition that ends early", GOOD.replace("= 'ADT'", "= ")),
    Mistake("a condition without quotes", GOOD.replace("'ADT'", "ADT")),
    Mistake("a condition with two equal signs", GOOD.replace("=", "==")),
    _rules("an ignored path without a reason", "ignore:\n  - path: PID-1\n"),
    # target fields and keywords
    _rules("an unknown field of the document", "document:\n  titel: PID-18\n"),
    _rules("an unknown field inside", "document:\n  patient:\n    birthdate: PID-7\n"),
    _rules("an unknown keyword", "document:\n  title:\n    form: PID-18\n"),
    _rules("a keyword among fields", "document:\n  patient:\n    when: PID-7 is present\n    birth_date: PID-7\n"),
    _rules("a list for a field that has one value", "document:\n  title:\n    - PID-18\n    - PID-19\n"),
    _rules("fields of a text", "document:\n  title:\n    fields:\n      value: PID-18\n"),
    _rules("a loop without fields", "document:\n  reports:\n    each: OBR\n"),
    _rules("a constant that is no code", "document:\n  kind: = report\n"),
    _rules("a code of another field", "document:\n  status: = cancel\n"),
    _rules("NO, which YAML would make false, as a code", "document:\n  status: = NO\n"),
    _rules("a word for a truth value", "document:\n  patient:\n    deceased: = perhaps\n"),
    _rules("an unknown shape", "document:\n  title:\n    from: PID-18\n    as: name\n"),
    _rules("a shape that does not fit", "document:\n  patient:\n    birth_date:\n      from: PID-7\n      as: address\n"),
    _rules("a needed field left out", "document:\n  relations:\n    each: TXA\n    fields:\n      target: TXA-13\n"),
    _rules("a template that does not close", 'document:\n  title:\n    template: "{PID-3 report"\n'),
    _rules("unmapped with an unknown word", TABLE + "document:\n  patient:\n    sex:\n      from: PID-8\n      table: sex\n      unmapped: ignore\n"),
    _rules("required with an unknown word", "document:\n  title:\n    from: PID-18\n    required: maybe\n"),
    _rules("a rule with no source", "document:\n  title:\n    default: x\n"),
    _rules("two sources in one rule", "document:\n  title:\n    from: PID-18\n    constant: x\n"),
    _rules("a choice that is never reached", "document:\n  title:\n    choose:\n      - constant: a\n      - when: PID-18 is present\n        constant: b\n"),
    # paths
    _rules("a field that the segment does not have", "document:\n  title: PID-88\n"),
    _rules("a component that the type does not have", "document:\n  created_at: PID-7.9\n"),
    _rules("a segment in small letters", "document:\n  title: pid-3\n"),
    _rules("a bracket that is not closed", "document:\n  authors: PID-3[*\n"),
    _rules("all repetitions for a field that has one value", "document:\n  title: PID-3[*]\n"),
    _rules("all repetitions in first_of for one value", "document:\n  patient:\n    birth_date:\n      first_of:\n        - PID-7\n        - PID-3[*].7\n"),
    _rules("only the first repetition of many", "document:\n  patient:\n    names: PID-5\n"),
    _rules("a name where a date belongs", "document:\n  patient:\n    birth_date: PID-5[1]\n"),
    _rules("a date where a person belongs", "document:\n  event:\n    operator: EVN-2\n"),
    _rules("a result value from another segment", "document:\n  observations:\n    each: OBX[*]\n    fields:\n      value: PID-5[1]\n"),
    _rules("an index of zero", "document:\n  title: PID-3[0]\n"),
    _rules("a segment of a group from outside", GROUPS + "document:\n  title: OBX-5\n"),
    _rules("a group that is not declared", GROUPS + "document:\n  reports:\n    each: ordre\n    fields:\n      code: OBR-4\n"),
    _rules("a group without a start", "groups:\n  order:\n    contains: OBX\n"),
    _rules("a path of FHIR in a mapping of HL7v2", "document:\n  title: Patient.name.family\n"),
    # tables
    _rules("a table that is not declared", TABLE + "document:\n  patient:\n    sex:\n      from: PID-8\n      table: sexe\n"),
    _rules("a table whose file is missing", "tables:\n  sex: sexes.csv\n"),
    _rules("a table outside the set", "tables:\n  sex: ../sex.csv\n"),
    _rules("a code twice in a table", TABLE, sex_csv=SEX + "M,female\n"),
    _rules("a table without its header", TABLE, sex_csv="M,male\n"),
    _rules("a row with a column too many", TABLE, sex_csv=SEX + "U,unknown,x\n"),
    _rules("a translation that is no code of the field", TABLE + "document:\n  status:\n    from: PID-8\n    table: sex\n", sex_csv="from,to\nP,preliminary\nF,finale\n"),
    # inheritance
    _extends("a file that extends itself", "", BASE + "extends:\n  - base.yaml\n"),
    _rules("a file that is not there", "extends:\n  - bases.yaml\n"),
    _extends("a mapping from another format", "", BASE.replace("hl7v2", "cda")),
    _extends("an override of what is not inherited", "document:\n  patient:\n    fields:\n      sex: PID-8\n  reports:\n    fields:\n      code: OBR-4\n"),
    _extends("removing what is not inherited", "remove:\n  - patient.phones\n"),
    _extends("appending to what is not inherited", "document:\n  authors+: PV1-7[1]\n"),
    _rules("a base of another version", 'extends:\n  - file: base.yaml\n    version: ">=2"\n', base_yaml=BASE),
    _rules("a version that is none", "extends:\n  - file: base.yaml\n    version: latest\n", base_yaml=BASE),
    Mistake("one name for two mappings", HEAD + "document:\n  title: PID-18\n", {"other.yaml": HEAD + "document:\n  title: PID-19\n"}),
    _extends("appending to what is not inherited", "document:\n  authors+: PV1-7\n"),
    # mappings that write
    Mistake("a format that is not written by mappings", OUT.replace("to: hl7v2", "to: cda") + OUT_MSH),
    Mistake("from one message straight to another", HEAD.replace("from: hl7v2", "from: cda\nto: hl7v2") + OUT_MSH),
    Mistake("no segments to write", OUT + "document:\n  title: PID-3\n"),
    Mistake("a message that does not begin with MSH", OUT + "segments:\n  - segment: PID\n    fields:\n      PID-7: patient.birth_date\n"),
    _writes("a segment that is none", "  - segment: PDI\n    fields:\n      PID-7: patient.birth_date\n"),
    _writes("a segment twice without names", "  - segment: OBX\n    fields:\n      OBX-5: title\n  - segment: OBX\n    fields:\n      OBX-5: title\n"),
    _writes("a segment with segments inside", "  - segment: OBR\n    segments:\n      - segment: OBX\n        fields:\n          OBX-5: title\n"),
    _writes("fields beside a segment", "  - segment: PID\n    PID-7: patient.birth_date\n"),
    _pid("a field that the written segment does not have", "      PID-88: title\n"),
    _pid("a field of another segment", "      PV1-7: title\n"),
    Mistake("the field separator", OUT + OUT_MSH.replace("MSH-9.1", "MSH-1")),
    _pid("every repetition of a field that has one", "      PID-7[*]: patient.birth_date\n"),
    _pid("a component that the written type does not have", "      PID-7.9: title\n"),
    _pid("a field of the document misspelt", "      PID-7: patient.birthdate\n"),
    _pid("a path of HL7v2 in a mapping that reads the document", "      PID-7: PID-7\n"),
    _pid("an index into what is no list", "      PID-7: patient.birth_date[1]\n"),
    _pid("a filter on a field that the item does not have", "      PID-3[*]: patient.identifiers[type='INS']\n"),
    _writes("a filter with a code that the field does not have", "  - each: attachments[role='body']\n    segment: OBX\n    fields:\n      OBX-5: .\n"),
    _pid("a name for a date", "      PID-7: patient.names\n"),
    _pid("an unknown keyword in a field to write", "      PID-7:\n        form: patient.birth_date\n"),
    _pid("fields inside a field", "      PID-5[*]:\n        each: patient.names\n        fields:\n          family: family\n"),
    Mistake("a table for what has no code", OUT + TABLE + OUT_MSH + "  - segment: PID\n    fields:\n      PID-5:\n        from: patient.names\n        table: sex\n", {"sex.csv": SEX}),
    Mistake("a place behind a segment that is not there", OUT + "extends:\n  - base.yaml\nsegments:\n  - segment: NTE\n    after: PV1\n    fields:\n      NTE-3: title\n", {"base.yaml": OUT_BASE}),
    Mistake("removing a segment that is not inherited", OUT + "extends:\n  - base.yaml\nremove:\n  - PV2\n", {"base.yaml": OUT_BASE}),
    Mistake("an adjustment that does not name the writer", FHIR.replace("extends:\n  - builtin:fhir-r4\n", "")),
    Mistake("a writer that is not there", FHIR.replace("fhir-r4\nresources", "fhir\nresources")),
    Mistake("a resource that is not written", FHIR.replace("Patient:", "Patiant:")),
    Mistake("an element that the resource does not have", FHIR.replace("birthDate:", "birthdate:")),
    Mistake("a value of another type for an element", FHIR.replace("patient.birth_date", "patient.names")),
    Mistake("more of an element that is no list", FHIR.replace("birthDate:", "birthDate+:")),
    Mistake("removing an element that FHIR requires", FHIR + "remove:\n  - Observation.status\n"),
    Mistake("removing an element that is none", FHIR + "remove:\n  - Patient.phone\n"),
    Mistake("one name for two mappings", HEAD + "document:\n  title: PID-3\n", {"other.yaml": HEAD + "document:\n  title: PID-4\n"}),
]  # fmt: skip
