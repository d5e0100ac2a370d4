"""What a professional is told with a document through the API, and the patient is not (VIS-06, VIS-07, VIS-10)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import text

from broker.database.engine import writing
from broker.database.types import to_micros
from tests.web import papers
from tests.web.site import CONSULTATION, Site


def marks(site: Site, who: dict[str, str], document: str) -> list[str]:
    shown = site.get(f"DocumentReference/{document}", who).json()
    return [one["code"] for one in shown["meta"].get("tag", [])]


def test_vis_06_a_professional_is_warned_of_what_the_patient_does_not_see_yet(site: Site) -> None:
    patient = site.person()
    plain, announced = papers.letter(0), papers.letter(1, CONSULTATION)
    site.put(patient, plain, announced)
    with writing(site.engine) as connection:
        soon = to_micros(datetime.now(UTC) + timedelta(days=20))
        connection.execute(
            text("UPDATE document SET visible_from = :soon WHERE id = :id"),
            {"soon": soon, "id": announced.id},
        )

    assert marks(site, site.physician(), announced.id) == ["VIS-06"]
    assert marks(site, site.physician(), plain.id) == []
    assert marks(site, site.patient(), plain.id) == []
    assert site.get(f"DocumentReference/{announced.id}", site.patient()).status_code == 404


def test_vis_07_vis_10_directives_are_told_as_the_patients_own(sqlite_site: Site) -> None:
    site = sqlite_site
    patient = site.person()
    expressed = papers.coded("90", "Expression du patient", "1.2.250.1.213.1.1.4.1")
    directives = papers.letter(0, "EXPPAT_3", class_code=expressed)
    site.put(patient, directives)

    assert marks(site, site.physician(), directives.id) == ["VIS-07", "VIS-10"]
    assert marks(site, site.patient(), directives.id) == []
