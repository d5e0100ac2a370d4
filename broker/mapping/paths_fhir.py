"""FHIR paths (section 5.4 of the language): a part of FHIRPath, compiled to closures over plain dictionaries.

Indexes start at 0 here, as in FHIRPath. Choice elements are read by their base name (`value`, `onset`).
Longer than other modules by the list of the types a choice element may have.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from broker.mapping.paths import Path, PathError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_DAR = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"


class At:
    """A JSON value, the resource it stands in (for `#contained`), and its type when a choice named it.

    aside: what JSON keeps beside a primitive (`_birthDate`), so that its extensions are found
    """

    __slots__ = ("aside", "owner", "type", "value")

    def __init__(self, value: Any, owner: Any, type_: str = "", aside: Any = None) -> None:
        self.value = value
        self.owner = owner
        self.type = type_
        self.aside = aside


Step = Callable[[Any, list[At]], list[At]]


def text_of(at: At) -> str:
    """A value as a condition sees it: a primitive, or a code, reference or value inside."""
    value = at.value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | Decimal | float):
        return str(value)
    if isinstance(value, dict):
        for name in ("value", "code", "reference", "resourceType"):
            if isinstance(value.get(name), str):
                return str(value[name])
        for coding in value.get("coding") or ():
            if isinstance(coding, dict) and coding.get("code"):
                return str(coding["code"])
    return ""


def absent_reason(value: Any) -> str:
    """The data-absent-reason of an element that has nothing else to say."""
    for extension in (value.get("extension") or ()) if isinstance(value, dict) else ():
        if isinstance(extension, dict) and extension.get("url") == _DAR:
            return str(extension.get("valueCode", "unknown"))
    return ""


def compile_path(text: str) -> Path:
    """Raises PathError with the offset of what is wrong."""
    parser = _Parser(text)
    steps = parser.steps()

    def walk(run: Any, scope: At) -> list[At]:
        found = [scope]
        for step in steps:
            found = step(run, found)
            if not found:
                return found
        return found

    alls = _once(walk) if text.partition(".")[0] == "Bundle" else walk

    def one(run: Any, scope: At) -> At | None:
        found = alls(run, scope)
        return found[0] if found else None

    def texts(run: Any, scope: At) -> list[str]:
        return [t for t in map(text_of, alls(run, scope)) if t]

    return Path(text, one, alls, texts, alls, None, "element")


def _once(alls: Callable[[Any, At], list[At]]) -> Callable[[Any, At], list[At]]:
    """A path from the Bundle gives the same wherever it is read: asked for each of its patients, it is walked once."""
    key = ("once", id(alls))

    def remembered(run: Any, scope: At) -> list[At]:
        found: list[At] | None = run.known.get(key)
        if found is None:
            found = run.known[key] = alls(run, scope)
        return found

    return remembered


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.i = 0

    def steps(self) -> list[Step]:
        steps: list[Step] = [self._head()]
        steps += self._index()
        while self.i < len(self.text):
            if self.text[self.i] != ".":
                raise PathError("expected '.' before the next member", self.i)
            self.i += 1
            steps.append(self._member())
            steps += self._index()
        return steps

    def whole(self) -> list[Step]:
        """The steps of a path that stands within another, which must hold nothing else."""
        try:
            return self.steps()
        except PathError as error:
            raise PathError(f"in '{self.text}': {error}", 0, error.hint) from error

    def _name(self) -> str:
        m = _NAME.match(self.text, self.i)
        if m is None:
            raise PathError("expected a name", self.i)
        self.i = m.end()
        return m.group(0)

    def _head(self) -> Step:
        if self.text.startswith("$this", self.i):
            self.i += 5
            return lambda _run, found: found
        if self.text == ".":
            self.i += 1
            return lambda _run, found: found
        at = self.i
        name = self._name()
        if self.text.startswith("(", self.i):
            self.i = at
            return self._member()
        if name == "Bundle":
            return _bundle
        if name[0].isupper():
            return _resources(name)
        return _member(name)

    def _member(self) -> Step:
        at = self.i
        name = self._name()
        if not self.text.startswith("(", self.i):
            return _member(name)
        end = _closing(self.text, self.i)
        inner = self.text[self.i + 1 : end].strip()
        if end < 0:
            raise PathError("a bracket is not closed", self.i)
        self.i = end + 1
        if name == "first" and not inner:
            return lambda _run, found: found[:1]
        if name == "last" and not inner:
            return lambda _run, found: found[-1:]
        if name == "resolve" and not inner:
            return _resolve
        if name == "ofType":
            return _of_type(inner)
        if name == "exclude":
            return _exclude(_Parser(inner).whole())
        if name == "extension":
            return _extension(inner.strip("'"))
        if name == "where":
            m = re.fullmatch(r"([\w.]+)\s*(=|!=)\s*'([^']*)'", inner)
            if m is None:
                raise PathError("where() takes name='text'", at)
            return _where(m.group(1), m.group(2) == "=", m.group(3))
        raise PathError(
            f"unknown function '{name}'",
            at,
            "where, ofType, resolve, first, last, exclude, extension",
        )

    def _index(self) -> list[Step]:
        if not self.text.startswith("[", self.i):
            return []
        end = self.text.find("]", self.i)
        number = self.text[self.i + 1 : end] if end > 0 else ""
        if not number.isdigit():
            raise PathError("an index is a number, counted from 0", self.i)
        self.i = end + 1
        n = int(number)
        return [lambda _run, found: found[n : n + 1]]


def _closing(text: str, start: int) -> int:
    depth = 0
    for i in range(start, len(text)):
        if text[i] == "(":
            depth += 1
        elif text[i] == ")":
            depth -= 1
            if not depth:
                return i
    return -1


def _bundle(run: Any, _found: list[At]) -> list[At]:
    resource = run.message.resource
    return [At(resource, resource)] if resource.get("resourceType") == "Bundle" else []


def _resources(kind: str) -> Step:
    def resources(run: Any, found: list[At]) -> list[At]:
        own = [a for a in found if _kind(a.value) == kind]
        if own:
            return own
        index: _Entries | None = run.known.get("entries")
        if index is None:
            index = run.known["entries"] = _Entries(run)
        if found and index.has_patients and _kind(found[0].value) == "Patient":
            return index.about.get((id(found[0].value), kind), [])
        return index.of_kind.get(kind, [])

    return resources


def _kind(value: Any) -> Any:
    return value.get("resourceType") if isinstance(value, dict) else None


class _Entries:
    """The resources of a message by their type and, where it has several patients, by the patient they are about.

    Whom a resource is about: its `subject` or `patient` (FHIR R4, patient compartment). Made once in a run.
    """

    def __init__(self, run: Any) -> None:
        self.of_kind: dict[str, list[At]] = {}
        self.about: dict[tuple[int, str], list[At]] = {}
        for entry in run.message.entries:
            self.of_kind.setdefault(_kind(entry), []).append(At(entry, entry))
        self.has_patients = len(self.of_kind.get("Patient", ())) > 1
        if self.has_patients:
            for kind, found in self.of_kind.items():
                for at in found:
                    for patient in _patients_of(run, at):
                        self.about.setdefault((patient, kind), []).append(at)


def _patients_of(run: Any, at: At) -> set[int]:
    """The ids of the patient objects a resource is about."""
    out = set()
    for name in ("subject", "patient"):
        subject = at.value.get(name)
        reference = subject.get("reference") if isinstance(subject, dict) else None
        target = run.message.resolve(reference, at.owner) if isinstance(reference, str) else None
        if _kind(target) == "Patient":
            out.add(id(target))
    return out


def _exclude(steps: list[Step]) -> Step:
    """FHIRPath `exclude`: without the elements that another path, read from the whole message, gives."""
    key = ("exclude", id(steps))

    def exclude(run: Any, found: list[At]) -> list[At]:
        if not found:
            return found
        unwanted = run.known.get(key)
        if unwanted is None:
            others = [At(run.message.resource, run.message.resource)]
            for step in steps:
                others = step(run, others)
            unwanted = run.known[key] = {id(at.value) for at in others}
        return [at for at in found if id(at.value) not in unwanted]

    return exclude


def _member(name: str) -> Step:
    aside = f"_{name}"

    def member(_run: Any, found: list[At]) -> list[At]:
        out: list[At] = []
        for at in found:
            value = at.value
            if not isinstance(value, dict):
                continue
            inner = value.get(name)
            kind = ""
            if inner is None:
                inner, kind = _choice(value, name)
            if inner is None:
                inner = value.get(aside)
            if isinstance(inner, list):
                out += [At(v, at.owner, kind) for v in inner if v is not None]
            elif inner is not None:
                beside = value.get(aside) if aside in value else None
                out.append(At(inner, at.owner, kind, beside))
        return out

    return member


def _choice(value: dict[str, Any], name: str) -> tuple[Any, str]:
    length = len(name)
    for key in value:
        if key[:length] == name and key[length : length + 1].isupper():
            kind = key[length:]
            if kind in _CHOICES:
                return value.get(key), kind
    return None, ""


_CHOICES = frozenset(
    [
        "Quantity",
        "CodeableConcept",
        "String",
        "Boolean",
        "Integer",
        "Range",
        "Ratio",
        "SampledData",
        "Time",
        "DateTime",
        "Period",
        "Attachment",
        "Identifier",
        "Reference",
        "Age",
        "Date",
        "Instant",
        "Code",
        "Uri",
        "Url",
        "Decimal",
        "Coding",
        "Timing",
        "Money",
        "Count",
        "Duration",
        "Address",
        "HumanName",
        "ContactPoint",
        "Annotation",
        "Base64Binary",
        "Canonical",
        "Id",
        "Markdown",
        "Oid",
        "PositiveInt",
        "UnsignedInt",
        "Uuid",
    ]
)


def _resolve(run: Any, found: list[At]) -> list[At]:
    """References followed; one that leads nowhere stays, so that its identifier or display can be read."""
    out: list[At] = []
    for at in found:
        value = at.value
        reference = value.get("reference") if isinstance(value, dict) else value
        target = (
            run.message.resolve(reference, at.owner)
            if isinstance(reference, str) and reference
            else None
        )
        if target is None:
            if isinstance(reference, str) and reference:
                run.issue("information", "unresolved-reference")
            if isinstance(value, dict):
                out.append(at)
        else:
            is_contained = isinstance(reference, str) and reference.startswith("#")
            out.append(At(target, at.owner if is_contained else target))
    return out


def _of_type(kind: str) -> Step:
    wanted = kind[:1].upper() + kind[1:]

    def of_type(_run: Any, found: list[At]) -> list[At]:
        return [
            a
            for a in found
            if a.type == wanted
            or (isinstance(a.value, dict) and a.value.get("resourceType") == wanted)
        ]

    return of_type


def _extension(url: str) -> Step:
    inner = _member("extension")

    def extension(run: Any, found: list[At]) -> list[At]:
        holders = [
            At(a.aside, a.owner)
            if isinstance(a.aside, dict) and not isinstance(a.value, dict)
            else a
            for a in found
        ]
        return [
            a
            for a in inner(run, holders)
            if isinstance(a.value, dict) and a.value.get("url") == url
        ]

    return extension


def _where(name: str, equal: bool, wanted: str) -> Step:
    steps = [_member(part) for part in name.split(".")]

    def where(run: Any, found: list[At]) -> list[At]:
        out = []
        for at in found:
            inner = [at]
            for step in steps:
                inner = step(run, inner)
            if (wanted in map(text_of, inner)) is equal:
                out.append(at)
        return out

    return where
