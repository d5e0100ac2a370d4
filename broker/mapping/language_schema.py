"""The grammar of a mapping file as a JSON Schema, for editors: completion, and a red line under what lint would refuse.

Made from the grammar and the document model, so it knows every keyword and every target field. What it cannot say is
left to lint: paths, conditions, tables that are there, shapes that fit. JSON Schema draft 7, which editors have read
for longest.
"""

from __future__ import annotations

from typing import Any

import msgspec

from broker.document import Attachment, Document
from broker.fhir_elements import RESOURCES
from broker.mapping.language import (
    DEFAULT_KEYS,
    ENTRY_KEYWORDS,
    FORMATS,
    LANGUAGE,
    RULE_KEYWORDS,
    SEGMENT_KEYWORDS,
    TOP_KEYS,
)
from broker.mapping.shape_names import SHAPE_NAMES
from broker.mapping.targets import Target, targets_of

Schema = dict[str, Any]

_TEXT: Schema = {"type": ["string", "number", "boolean"]}
"""A scalar: mapping files are read as text only, an editor may see a number or a truth value in it."""

Keywords = dict[str, tuple[str, Schema]]
"""Keys with what they mean, for editors and the reference page, and what an editor may expect there."""

DEFAULTS: Keywords = {
    "timezone": ("Zone of times without an offset, like Europe/Paris; it is noted as assumed.", _TEXT),
    "assigning_authority": ("OID of who assigned an identifier of which the sender does not say it.", _TEXT),
    "decimal_comma": ("`accept` reads 1,5 as a number.", {"enum": ["accept"]}),
    "unmapped": ("What to do with a code that no row has, unless the rule or its table says.", _TEXT),
    "midnight_is_unknown": (
        "`true` for a sender that writes 000000 where it knows no time.",
        {"enum": [True, False, "true", "false"]},
    ),
    "keep_unread": (
        "`true` keeps what no rule reads in the document's `extras`; HL7v2 of one patient only.",
        {"enum": [True, False, "true", "false"]},
    ),
}  # fmt: skip

TOP: Keywords = {
    "mapping": ("Name of the mapping, unique in the set.", _TEXT),
    "version": ("Version of this file, like 1.0.0.", _TEXT),
    "language": ("Version of the mapping language.", {"enum": [LANGUAGE, str(LANGUAGE)]}),
    "from": ("What the mapping reads.", {"enum": list(FORMATS)}),
    "to": ("What it makes; a document unless said.", {"enum": list(FORMATS)}),
    "applies_when": ("Condition on the message; without it the file is a fragment.", _TEXT),
    "extends": (
        "Files this one builds on, merged in their order, this one last.",
        {
            "type": "array",
            "items": {
                "anyOf": [_TEXT, {"type": "object", "properties": {"file": _TEXT}}],
            },
        },
    ),
    "tables": (
        "Name of a table and its CSV file, or its file with what to do where no row fits.",
        {
            "type": "object",
            "additionalProperties": {
                "anyOf": [
                    _TEXT,
                    {
                        "type": "object",
                        "required": ["file"],
                        "properties": {"file": _TEXT, "unmapped": _TEXT, "default": _TEXT},
                        "additionalProperties": False,
                    },
                ]
            },
        },
    ),
    "groups": ("Segment groups of HL7v2.", {"$ref": "#/definitions/groups"}),
    "namespaces": ("Further XML prefixes of CDA.", {"type": "object", "additionalProperties": _TEXT}),
    "defaults": (
        "What holds for the whole file unless a rule says otherwise.",
        {
            "type": "object",
            "properties": {
                name: {"description": DEFAULTS[name][0], **DEFAULTS[name][1]}
                for name in sorted(DEFAULT_KEYS)
            },
            "additionalProperties": False,
        },
    ),
    "parts": (
        "Named blocks of target fields that rules share by `part`.",
        {"type": "object", "additionalProperties": {"type": "object"}},
    ),
    "document": ("The rules of the one document.", {"$ref": "#/definitions/Document"}),
    "documents": (
        "Several documents, each with its name and its rules.",
        {"type": "array", "items": {"$ref": "#/definitions/entry"}},
    ),
    "ignore": (
        "Source paths that are not mapped on purpose, each with its reason.",
        {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["path", "reason"],
                "properties": {"path": _TEXT, "reason": _TEXT, "comment": _TEXT},
            },
        },
    ),
    "remove": ("Target paths that were inherited and are not wanted.", {"type": "array", "items": _TEXT}),
    "segments": ("The rules of an HL7v2 message to write, segment by segment.", {"$ref": "#/definitions/segments"}),
    "resources": (
        "What changes in the FHIR resources the writer makes: elements, and where they come from.",
        {"$ref": "#/definitions/resources"},
    ),
    "xml": ("Kept free: a CDA is written by code, and no mapping changes it yet.", {}),
}  # fmt: skip

RULE: Keywords = {
    "from": ("One source path.", _TEXT),
    "first_of": ("The first of these that gives a value.", {"type": "array"}),
    "constant": ("A literal text.", _TEXT),
    "template": ("Text with paths in braces; missing parts are empty.", _TEXT),
    "as": ("The shape, where source and target allow more than one.", {"enum": sorted(SHAPE_NAMES)}),
    "table": ("The table that translates the code.", _TEXT),
    "unmapped": (
        "What to do with a code that no row has.",
        {"anyOf": [{"enum": ["keep", "drop", "reject", "hold"]}, {"type": "string", "pattern": "^use "}]},
    ),
    "default": ("Used where the result is missing, not where it is null.", _TEXT),
    "required": (
        "`true` refuses the message where the result is missing; `warn` notes an issue.",
        {"enum": [True, False, "true", "false", "warn"]},
    ),
    "when": ("Condition: where it is false the rule gives nothing.", _TEXT),
    "each": ("Loop over a repetition, segment, group, node list or resource list.", _TEXT),
    "choose": ("The first of these rules whose `when` holds; the last may have none.", {"type": "array"}),
    "fields": ("The target fields, beside `each` or `when`.", {}),
    "part": ("A named block of `parts` as the fields; `fields` are laid over it.", _TEXT),
    "distinct": ("`true` drops equal items of a list.", {"enum": [True, False, "true", "false"]}),
    "comment": ("For people.", _TEXT),
}  # fmt: skip

ENTRY: Keywords = {
    "name": ("Name of this document within the mapping; a site overrides it by this name.", _TEXT),
    "each": ("One document for each of these.", _TEXT),
    "when": ("Condition: where it is false there is no such document.", _TEXT),
    "embedded": ("Path of a document inside the message, mapped by its own mapping.", _TEXT),
    "fields": ("The target fields.", {"$ref": "#/definitions/Document"}),
    "part": ("A named block of `parts` as the fields; `fields` are laid over it.", _TEXT),
    "remove": (
        "Target paths of `document` that this one does not want.",
        {"type": "array", "items": _TEXT},
    ),
    "allow_none": ("`true` where a message may give none.", {"enum": [True, False, "true", "false"]}),
    "comment": ("For people.", _TEXT),
}  # fmt: skip

SEGMENT: Keywords = {
    "name": ("What other files mean this entry by; else its segment or loop.", _TEXT),
    "segment": ("The segment to write, like PID.", {"type": "string", "pattern": "^[A-Z][A-Z0-9]{2}$"}),
    "each": ("The entry for each item of a list of the document.", _TEXT),
    "when": ("Condition: where it is false nothing is written.", _TEXT),
    "fields": (
        "Fields, components or subcomponents of the segment, and where they come from.",
        {
            "type": "object",
            "patternProperties": {
                r"^[A-Z][A-Z0-9]{2}-[1-9][0-9]*(\[\*\]|(\.[1-9][0-9]*){1,2})?\+?$": {
                    "$ref": "#/definitions/rules"
                }
            },
            "additionalProperties": False,
        },
    ),
    "segments": ("Entries within this one, for each of its items.", {"$ref": "#/definitions/segments"}),
    "after": ("A new entry stands behind the inherited one of this name.", _TEXT),
    "comment": ("For people.", _TEXT),
}  # fmt: skip


def schema() -> Schema:
    """The schema of one mapping file."""
    definitions: dict[str, Schema] = {
        "entry": _object(ENTRY, ENTRY_KEYWORDS, ["name"]),
        "segments": {"type": "array", "items": _object(SEGMENT, SEGMENT_KEYWORDS, [])},
        "resources": {
            "type": "object",
            "properties": {
                name: {
                    "type": "object",
                    "patternProperties": {
                        r"^[a-z][A-Za-z]*(\.[a-z][A-Za-z]*)*\+?$": {"$ref": "#/definitions/rules"}
                    },
                    "additionalProperties": False,
                }
                for name in sorted(RESOURCES)
            },
            "additionalProperties": False,
        },
        "rules": {
            "anyOf": [
                _TEXT,
                {"$ref": "#/definitions/rule"},
                {"type": "array", "items": {"anyOf": [_TEXT, {"$ref": "#/definitions/rule"}]}},
            ]
        },
        "groups": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "required": ["starts"],
                "properties": {
                    "starts": {"$ref": "#/definitions/names"},
                    "contains": {"$ref": "#/definitions/names"},
                    "groups": {"$ref": "#/definitions/groups"},
                },
                "additionalProperties": False,
            },
        },
        "names": {"anyOf": [_TEXT, {"type": "array", "items": _TEXT}]},
        "rule": _long_form(None),
    }
    _define(Document, definitions)
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": f"Carnet mapping file, language {LANGUAGE}",
        **_object(TOP, TOP_KEYS, ["mapping", "version", "language", "from"]),
        "definitions": definitions,
    }


def text() -> str:
    """The schema as a file."""
    return msgspec.json.format(msgspec.json.encode(schema()), indent=2).decode() + "\n"


_CONTENT: Schema = {"anyOf": [_TEXT, {"$ref": "#/definitions/Attachment rule"}]}


def _object(keys: Keywords, known: frozenset[str], needed: list[str]) -> Schema:
    return {
        "type": "object",
        "required": needed,
        "properties": {
            name: {"description": keys[name][0], **keys[name][1]} for name in keys if name in known
        },
        "additionalProperties": False,
    }


def _define(struct: type[msgspec.Struct], definitions: dict[str, Schema]) -> None:
    """The target fields of a model type and, beside them, its long form; and so on for the types of its fields."""
    if struct.__name__ in definitions:
        return
    definitions[struct.__name__] = fields = {"type": "object", "additionalProperties": False}
    definitions[f"{struct.__name__} rule"] = _long_form(struct)
    properties: dict[str, Schema] = {}
    if struct is Attachment:
        properties["content"] = {"description": "Where the bytes stand.", **_CONTENT}
    for name, target in targets_of(struct).items():
        if target.is_struct:
            _define(target.type, definitions)
        properties[name] = _rule(target)
        if target.many:
            properties[f"{name}+"] = _rule(target)
    fields["properties"] = properties


def _rule(target: Target) -> Schema:
    """One rule for a target field; a list of them where the field is a list."""
    forms: list[Schema] = [_TEXT]
    if target.is_struct:
        name = target.type.__name__
        forms += [{"$ref": f"#/definitions/{name}"}, {"$ref": f"#/definitions/{name} rule"}]
    else:
        forms.append({"$ref": "#/definitions/rule"})
    if target.many:
        forms.append({"type": "array", "items": {"anyOf": list(forms)}})
    made: Schema = {"anyOf": forms}
    if target.codes:
        made["description"] = "One of " + ", ".join(target.codes)
    return made


def _long_form(struct: type[msgspec.Struct] | None) -> Schema:
    """A block of keywords. Within `first_of` and `choose` stand rules for the same target."""
    made = _object(RULE, RULE_KEYWORDS, [])
    properties = made["properties"]
    forms: list[Schema] = [_TEXT]
    if struct is None:
        forms.append({"$ref": "#/definitions/rule"})
        del properties["fields"]
    else:
        name = struct.__name__
        forms += [{"$ref": f"#/definitions/{name}"}, {"$ref": f"#/definitions/{name} rule"}]
        properties["fields"]["$ref"] = f"#/definitions/{name}"
    for keyword in ("first_of", "choose"):
        properties[keyword]["items"] = {"anyOf": forms}
    return made
