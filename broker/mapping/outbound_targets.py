"""The places of an HL7v2 message that an outbound rule fills: `PID-3[*]`, `PID-7`, `MSH-9.1`, `PV1-3.4.2`.

Source: HL7 v2.5.1 §2.5 (fields, components, subcomponents); versions from 2.6 on have CWE for CE and DTM for TS.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from broker.mapping.hl7v2_fields import COMPONENTS, FIELD_TYPES
from broker.mapping.outbound_shapes import COMPONENT, FieldType
from broker.mapping.paths import PathError
from broker.mapping.problems import did_you_mean
from broker.mapping.targets import Target

_TARGET = re.compile(r"([A-Z][A-Z0-9]{2})-(\d+)(\[\*\])?(?:\.(\d+))?(?:\.(\d+))?")
SEGMENT = re.compile(r"[A-Z][A-Z0-9]{2}")
_MOST_FIELDS = 199
_LATER = {"CE": "CWE", "TS": "DTM"}

Version = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """A field, component or subcomponent; 0 where the part is not named."""

    segment: str
    field: int
    component: int = 0
    subcomponent: int = 0
    repeats: bool = False
    type: FieldType = COMPONENT

    @property
    def target(self) -> Target:
        """The place as the compiler sees it."""
        name = f"{self.segment}-{self.field}"
        if self.component:
            name += f".{self.component}"
        return Target(name, name, self.type, many=self.repeats, needed=False)


def check_segment(name: str) -> None:
    """Raises PathError for a name that no standard segment and no Z segment has."""
    if SEGMENT.fullmatch(name) is None or (name not in FIELD_TYPES and name[0] != "Z"):
        hint = did_you_mean(name, FIELD_TYPES)
        raise PathError(f"there is no segment '{name}'", 0, hint, "E504")


def place_of(text: str, segment: str, version: Version) -> Place:
    """The place a target names. Raises PathError E505 to E507 when it is none of the segment."""
    m = _TARGET.fullmatch(text)
    if m is None:
        hint = f"write it like {segment}-3, {segment}-3[*] or {segment}-3.1"
        raise PathError(f"'{text}' is no field of a segment", 0, hint, "E505")
    name, field, repeats = m.group(1), int(m.group(2)), m.group(3) is not None
    component, subcomponent = int(m.group(4) or 0), int(m.group(5) or 0)
    if name != segment:
        raise PathError(f"'{text}' in segment {segment}", 0, "", "E505")
    if not field or field > _MOST_FIELDS:
        raise PathError(f"{name} has no field {field}", 0, "", "E505")
    if name == "MSH" and field < 3:
        raise PathError("MSH-1 and MSH-2 are the separators: the writer sets them", 0, "", "E505")
    declared = _declared(name, field)
    kind = declared.rstrip("*")
    if declared == "" and name in FIELD_TYPES and name[0] != "Z":
        most = len(FIELD_TYPES[name].split())
        raise PathError(f"{name} has fields 1 to {most}, not {field}", 0, "", "E505")
    if repeats and declared and not declared.endswith("*"):
        raise PathError(f"{name}-{field} does not repeat", 0, f"write {name}-{field}", "E506")
    if repeats and component:
        raise PathError("a component of every repetition cannot be set alone", 0, "", "E506")
    if component and kind not in {"", "varies"} and component > COMPONENTS.get(kind, 1):
        most = COMPONENTS.get(kind, 1)
        message = f"{name}-{field} is {kind} with {most} components, not {component}"
        raise PathError(message, 0, "", "E507")
    if component:
        return Place(name, field, component, subcomponent, False, COMPONENT)
    if version >= (2, 6):
        kind = _LATER.get(kind, kind)
    return Place(name, field, repeats=repeats, type=FieldType(kind, is_z=not declared))


def _declared(segment: str, field: int) -> str:
    kinds = FIELD_TYPES.get(segment, "").split()
    declared = kinds[field - 1] if field <= len(kinds) else ""
    return "" if declared == "-" else declared
