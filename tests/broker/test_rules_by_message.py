"""What messages say of who may see a record, through the whole pipeline, on both databases."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from broker.access import Viewer
from broker.database.engine import reading as snapshot_of
from broker.records import care_team, reading
from broker.rules import decide
from tests.broker.records import record
from tests.broker.test_mapping_sets import Site, site

__all__ = ["site"]

RULES = record.RULES
WARD = Viewer(kind="professional", id="899900000029", profession="G15_10", structure="CHU-X")


def adt(
    code: str, visit: str, zfa11: str = "", control_id: str = "A1", at: str = "20261120101500"
) -> bytes:
    begun = "20261122101500" if visit == "V2" else "20261120101500"
    lines = [
        f"MSH|^~\\&|GAM|CHU-X|CARNET|CHU-X|{at}+0100||ADT^{code}^ADT_{code}|{control_id}|T|2.5^FRA^2.11|||||FRA|UNICODE UTF-8|||2.11^IHE_FRANCE-2.11-PAM",
        f"EVN||{at}+0100||||{at}+0100",
        "PID|1||SPEC0042^^^CHU-X&1.2.250.1.999.1.1&ISO^PI||TESTSITE^LOUISE^^^^^L||19810203|F",
        f"PV1|1|I|CHIR^201^2||||||||||||||||{visit}^^^CHU-X&1.2.250.1.999.4&ISO^VN|||||||||||||||||||||||||{begun}+0100|{at + '+0100' if code == 'A03' else ''}",
    ]
    if zfa11:
        lines.append(f"ZFA|ACTIF|20261120101500|||||||INO|20261120101500|{zfa11}|20261120101500")
    return "".join(line + "\r" for line in lines).encode()


def letter(control_id: str, **orders: str) -> bytes:
    """A report with orders of MetaDMPMSS."""
    lines = [
        f"MSH|^~\\&|SIL|CHU-X|DPI|H|20261120111500||ORU^R01^ORU_R01|{control_id}|P|2.5",
        "PID|1||SPEC0042^^^CHU-X&1.2.250.1.999.1.1&ISO^PI||TESTSITE^LOUISE^^^^^L||19810203|F",
        "ORC|RE|P-1|F-1",
        "OBR|1|P-1|F-1|11502-2^CR d'examens biologiques^LN|||||||||||||||||||||F",
        "OBX|1|NM|2951-2^Sodium^LN||139|mmol/L|136-145|N|||F",
        *(
            f"OBX|{n}|CE|{name}^^MetaDMPMSS||{value}^^expandedYes-NoIndicator||||||F"
            for n, (name, value) in enumerate(orders.items(), start=2)
        ),
    ]
    return "".join(line + "\r" for line in lines).encode()


def filed(site: Site, *bodies: bytes) -> None:
    pipeline = site.pipeline()
    for body in bodies:
        pipeline.process([work.id for work in site.receive(body)])


def the_patient(site: Site) -> int:
    found = reading.find_patient(site.engine, "1.2.250.1.999.1.1", "SPEC0042")
    assert found is not None
    return found


def titles(site: Site, viewer: Viewer) -> int:
    page = reading.listing(
        site.engine,
        viewer,
        the_patient(site),
        decide=RULES.reading,
        trail=record.WRITE,
        now=datetime.now(UTC),
    )
    return sum(item.row.kind == "result_report" for item in page.items)


@pytest.mark.parametrize(("zfa11", "count"), [("IC", 1), ("INC", 0), ("NA", 0), ("", 0)])
def test_con_06_an_admission_opens_the_record_to_its_ward_with_zfa_11_alone(
    site: Site, zfa11: str, count: int
) -> None:
    filed(site, letter("L1"), adt("A01", "V1", zfa11))

    assert titles(site, WARD) == count
    elsewhere = Viewer(kind="professional", id="8999", profession="G15_10", structure="CHU-Y")
    assert titles(site, elsewhere) == 0


def test_con_06_a_consent_is_of_its_episode_and_ends_with_the_discharge(site: Site) -> None:
    filed(site, letter("L1"), adt("A01", "V1", "IC"))
    assert titles(site, WARD) == 1

    filed(site, adt("A03", "V1", control_id="A2", at="20261121101500"))
    assert titles(site, WARD) == 0

    filed(site, adt("A01", "V2", control_id="A3", at="20261122101500"))
    assert titles(site, WARD) == 0
    acts = [(one.act, one.episode) for one in care_team.history(site.engine, the_patient(site))]
    assert acts == [("enter", "V1"), ("leave", "V1"), ("enter", "V2")]


def test_aud_01_a_filing_is_an_entry_of_who_fed_which_record_with_which_message(
    site: Site,
) -> None:
    began = datetime.now(UTC)
    filed(site, letter("L1"), letter("L2").replace(b"||139|", b"||141|"))
    patient = the_patient(site)

    with snapshot_of(site.engine) as connection:
        rows = connection.execute(
            text(
                "SELECT a.*, d.patient AS whose, m.sender, m.source, m.control_id AS said FROM audit_entry a "
                "JOIN document d ON CAST(d.id AS text) = a.subject JOIN message m ON m.seq = d.message_seq "
                "WHERE a.act = 'filed' ORDER BY a.n"
            )
        ).all()

    assert [(row.act, row.control_id) for row in rows] == [("filed", "L1"), ("filed", "L2")]
    for row in rows:
        assert (row.actor_kind, row.actor, row.source) == ("machine", "lab", "lab")
        assert began <= datetime.fromtimestamp(row.at / 1_000_000, UTC) <= datetime.now(UTC)
        assert row.patient == row.whose == patient
        assert row.control_id == row.said
        assert row.sender == "SIL|CHU-X"


def test_aud_03_a_filing_says_which_document_and_with_which_software(site: Site) -> None:
    filed(site, letter("L1"))

    with snapshot_of(site.engine) as connection:
        (row,) = connection.execute(
            text("SELECT software, details FROM audit_entry WHERE act = 'filed'")
        ).all()

    assert row.software == "SIL"
    assert json.loads(row.details) == {"type": "11502-2", "unique_id": "F-1"}


def visibility(site: Site) -> tuple[bool, bool, bool]:
    """Of the current report: masked, invisible to the patient now, hidden from representatives."""
    with snapshot_of(site.engine) as connection:
        row = connection.execute(
            text(
                "SELECT masked_ps, visible_from > filed_at AS later, hidden_from_reps FROM document "
                "WHERE kind = 'result_report' AND availability = 'current'"
            )
        ).one()
    return bool(row.masked_ps), bool(row.later), bool(row.hidden_from_reps)


def test_orders_of_the_sender_take_effect_on_the_filed_document(site: Site) -> None:
    filed(site, letter("L1", MASQUE_PS="Y", INVISIBLE_REP_LEGAUX="Y", DESTDMP="Y"))

    assert visibility(site) == (True, False, True)


def test_vis_03_an_order_shows_what_was_invisible_and_hides_nothing_again(site: Site) -> None:
    filed(site, letter("L1", INVISIBLE_PATIENT="Y", DESTDMP="Y"))
    assert visibility(site) == (False, True, False)

    filed(site, letter("L2", INVISIBLE_PATIENT="N", MODIF_CONF_CODE="Y", DESTDMP="Y"))
    assert visibility(site) == (False, False, False)

    filed(site, letter("L3", INVISIBLE_PATIENT="Y", MODIF_CONF_CODE="Y", DESTDMP="Y"))
    assert visibility(site) == (False, False, False)


def test_vis_05_both_masks_at_once_are_not_filed_and_said_so(site: Site) -> None:
    filed(site, letter("L1", MASQUE_PS="Y", INVISIBLE_PATIENT="Y", DESTDMP="Y"))

    assert [(state[0], state[2]) for state in site.states()] == [("L1", "filing.masks_cumulated")]
    with snapshot_of(site.engine) as connection:
        assert connection.execute(text("SELECT count(*) FROM document")).scalar_one() == 0


def test_emg_09_adt_carries_no_oppositions_to_emergency_access(site: Site) -> None:
    old = adt("A01", "V1", "IC").replace(b"|||||||INO|", b"|O|20260101||O|20260101||INO|")
    filed(site, letter("L1"), old)
    glass = Viewer(
        kind="professional",
        id="899900000037",
        profession="G15_10",
        mode="bris_de_glace",
        motive="found unconscious",
    )

    assert titles(site, glass) == 1
    assert decide.FILE == "file"
