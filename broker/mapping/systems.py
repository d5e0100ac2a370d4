"""Who assigns identifiers and codes: one table, `systems.csv`, for the whole installation. For shapes.

A value rule says how the same identifier is written under an OID and under a URI: the French OID
1.2.250.1.71.4.2.1 carries `8` + RPPS or `0` + ADELI, real messages put either form there, the model keeps the bare
number. INS test and production authorities are different systems with the same kind.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from broker.mapping.tables import csv_rows


@dataclass(frozen=True, slots=True)
class System:
    """One authority or code system: our key, and the names others give it."""

    key: str
    kind: str = ""
    oid: str = ""
    uri: str = ""
    rule: str = ""
    hl7v2: str = ""


@dataclass(frozen=True, slots=True)
class Systems:
    """Lookup by OID, URI or HL7v2 name; and by our key, for writing."""

    by_name: dict[str, System]
    by_key: dict[str, System] = field(default_factory=dict)

    def find(self, name: str) -> System | None:
        """The system of an OID (with or without `urn:oid:`), a URI or an HL7v2 name."""
        found = self.by_name.get(name)
        if found is None and name[:8] == "urn:oid:":
            found = self.by_name.get(name[8:])
        return found

    def code_system(self, name: str) -> str:
        """The canonical URI of a code system; what was received when it is not listed."""
        found = self.find(name)
        if found is None:
            return f"urn:oid:{name}" if name[:2] in {"1.", "2."} and name[2:3].isdigit() else name
        return found.uri or f"urn:oid:{found.oid}" if found.oid or found.uri else found.key

    def identify(self, name: str, value: str) -> tuple[str, str, str]:
        """(system, kind, value) of an identifier; the value by the system's rule."""
        found = self.find(name)
        if found is None:
            return name.removeprefix("urn:oid:"), "", value
        if found.rule:
            return _RULES[found.rule](found, value)
        return found.key, found.kind, value


def _national_person(system: System, value: str) -> tuple[str, str, str]:
    if len(value) == 12 and value[0] == "8" and value.isdigit():
        return "rpps", "RPPS", value[1:]
    if len(value) == 11 and value.isdigit():
        return "rpps", "RPPS", value
    if len(value) == 10 and value[0] == "0":
        return "adeli", "ADELI", value[1:]
    return system.key, system.kind, value


def _national_structure(system: System, value: str) -> tuple[str, str, str]:
    if len(value) == 10 and value[0] == "1":
        return "finess", "FINESS", value[1:]
    if len(value) == 9 and value[2:].isdigit():
        return "finess", "FINESS", value
    if len(value) == 15 and value[0] == "3" and value.isdigit():
        return "siret", "SIRET", value[1:]
    if len(value) == 14 and value.isdigit():
        return "siret", "SIRET", value
    return system.key, system.kind, value


_RULES = {"national_person": _national_person, "national_structure": _national_structure}


def parse(text: str) -> Systems:
    """The systems of a `systems.csv`: key, kind, oid, uri, hl7v2_names (`;` between), value_rule, name."""
    by_name: dict[str, System] = {}
    by_key: dict[str, System] = {}
    for _, cells in csv_rows(text):
        rule = cells.get("value_rule", "")
        system = System(
            cells["key"],
            cells.get("kind", ""),
            cells.get("oid", ""),
            cells.get("uri", ""),
            rule if rule in _RULES else "",
            cells.get("hl7v2_names", "").partition(";")[0].strip(),
        )
        by_key.setdefault(system.key, system)
        names = [system.oid, system.uri, *cells.get("hl7v2_names", "").split(";")]
        for name in filter(None, (n.strip() for n in names)):
            by_name.setdefault(name, system)
    return Systems(by_name, by_key)


NONE = Systems({})
