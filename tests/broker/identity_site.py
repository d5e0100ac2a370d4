"""Identity messages of invented patients, and what became of whom: for tests of merging on one installation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Engine, text

from broker.database.engine import reading
from broker.identity import ins
from broker.records import identity_circle, identity_journal, patients

IPP = "1.2.250.1.999.1"
NIR = "1.2.250.1.213.1.4.10"


def number(digits: str) -> str:
    """An INS of the test authority: 13 characters with their key."""
    return f"{digits}{ins.key_of(digits):02d}"


ONE_INS, OTHER_INS = number("2540299352001"), number("2540299352002")


def cx(value: str, ins_: str = "") -> str:
    """PID-3 of a local number, and of a test INS where there is one."""
    local = [f"{one}^^^CHU&{IPP}&ISO^PI" for one in value.split("~") if one]
    qualified = [f"{ins_}^^^ASIP-SANTE-INS-NIR&{NIR}&ISO^INS"] if ins_ else []
    return "~".join([*local, *qualified])


def adt(
    event: str,
    control_id: str,
    patient: str,
    *,
    prior: str = "",
    second: str = "",
    status: str = "VALI",
    name: str = "EXEMPLE^JEANNE",
    more: str = "",
) -> bytes:
    """One ADT message: PID-3 `patient`, MRG-1 `prior`, or a second PID (A24, A37)."""
    pid = f"PID|1||{patient}||{name}^^^^^L||19540201|F" + "|" * 24 + status + "\r"
    rest = f"MRG|{prior}\r" if prior else ""
    rest += f"PID|2||{second}||{name}^^^^^L||19540201|F\r" if second else ""
    return (
        f"MSH|^~\\&|GAM|CHU|CARNET|CHU|20261123100000||ADT^{event}|{control_id}|P|2.5^FRA^2.11|||||FRA|UNICODE UTF-8\r"
        f"EVN||20261123100000\r{pid}{rest}{more}"
    ).encode()


def a40(control_id: str, survivor: str, absorbed: str, **more: Any) -> bytes:
    return adt("A40^ADT_A39", control_id, survivor, prior=absorbed, **more)


def a04(control_id: str, patient: str, **more: Any) -> bytes:
    return adt("A04^ADT_A01", control_id, patient, more="PV1|1|O\r", **more)


def person(engine: Engine, value: str) -> int:
    """Whom a local number names."""
    with reading(engine) as connection:
        return patients.find(connection, {(IPP, value)})[(IPP, value)]


def owner(engine: Engine, system: str, value: str) -> int | None:
    """Whom a number names; None for nobody."""
    with reading(engine) as connection:
        return patients.find(connection, {(system, value)}).get((system, value))


def numbers(engine: Engine) -> list[tuple[int, str, str, str]]:
    """Every identifier as patient, system, value and kind."""
    found = rows(engine, "SELECT patient, system, value, kind FROM patient_identifier")
    with reading(engine) as connection:
        return patients.opened_keys(connection, found)


def events(engine: Engine) -> list[identity_journal.Event]:
    """The journal, oldest first."""
    found = rows(engine, "SELECT n FROM identity_event ORDER BY n")
    with reading(engine) as connection:
        told = [identity_journal.event(connection, int(row.n)) for row in found]
    return [one for one in told if one is not None]


def members(engine: Engine, value: str) -> set[int]:
    """All persons of the record that a local number leads to."""
    one = person(engine, value)
    with reading(engine) as connection:
        return set(identity_circle.around(connection, [one]).members(one))


def records(engine: Engine) -> list[dict[str, Any]]:
    """Every record as what it holds, whoever has which internal number: its identifiers and its documents' content."""
    with reading(engine) as connection:
        everybody = [int(row.id) for row in connection.execute(text("SELECT id FROM patient"))]
        circle = identity_circle.around(connection, everybody)
        papers = rows(
            engine,
            "SELECT d.patient, m.control_id, d.availability FROM document d "
            "JOIN message m ON m.seq = d.message_seq",
        )
    found: dict[int, dict[str, Any]] = {}
    for one in everybody:
        found.setdefault(circle.root(one), {"keys": [], "documents": []})
    for patient, system, value, _ in numbers(engine):
        found[circle.root(patient)]["keys"].append((system, value))
    for row in papers:
        found[circle.root(row.patient)]["documents"].append((row.control_id, row.availability))
    made = [{name: sorted(of) for name, of in one.items()} for one in found.values()]
    return sorted(made, key=str)


def rows(engine: Engine, statement: str, **given: Any) -> Sequence[Any]:
    with reading(engine) as connection:
        return connection.execute(text(statement), given).all()


def reasons(engine: Engine) -> dict[str, str | None]:
    """Control id to the reason its message ended for."""
    return {
        row.control_id: row.reason for row in rows(engine, "SELECT control_id, reason FROM message")
    }


def oru(control_id: str, patient: str, *, name: str = "EXEMPLE^JEANNE", obr: str = "") -> bytes:
    """One laboratory report; the same `obr` is a report that comes again."""
    number_ = obr or f"F-{control_id}"
    return (
        f"MSH|^~\\&|LIS|CHU|CARNET|CHU|20261123100000||ORU^R01^ORU_R01|{control_id}|P|2.5^FRA^2.11|||||FRA|UNICODE UTF-8\r"
        f"PID|1||{patient}||{name}^^^^^L||19540201|F{'|' * 24}VALI\r"
        f"OBR|1|P-{number_}^PL|{number_}^LIS|GLU^Glucose^L|||20261123090000|||||||||||||||20261123100000|||F\r"
        f"OBX|1|NM|GLU^Glucose^L||5.{len(control_id)}|mmol/L|||||F\r"
    ).encode()
