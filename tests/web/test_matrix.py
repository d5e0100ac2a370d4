"""MAT-01 to MAT-09 through the API: each of 26 groups sees of 102 types what the CSV says, and nothing else."""

from __future__ import annotations

import csv
from pathlib import Path
from random import Random

import pytest

from tests.web import papers
from tests.web.site import CONSENTED, Site, bearer

FOLDER = Path(__file__).parents[2] / "mappings" / "rules"


def cells() -> dict[tuple[str, str], bool]:
    """The CSV read by itself, not by the rules: (group, type) and whether it is open."""
    with (FOLDER / "access-matrix.csv").open(encoding="utf-8", newline="") as file:
        return {
            (row["profession_group"], row["type_code"]): row["access"] == "O"
            for row in csv.DictReader(file)
        }


def filed(site: Site) -> tuple[str, dict[str, str]]:
    """A patient with one document of each type: their reference, and the document of each type."""
    patient = site.person()
    types = sorted({code for _, code in cells()})
    written = {code: papers.letter(n, code) for n, code in enumerate(types)}
    site.put(patient, *written.values())
    return site.reference(patient), {code: one.id for code, one in written.items()}


def as_group(site: Site, group: str) -> dict[str, str]:
    return bearer(site.issuer.professional("899900000055", group)) | CONSENTED


@pytest.mark.timeout(400)
def test_mat_the_whole_matrix_searched_is_the_csv_and_reading_agrees(sqlite_site: Site) -> None:
    site, matrix = sqlite_site, cells()
    reference, documents = filed(site)
    groups = sorted({group for group, _ in matrix})
    assert (len(groups), len(documents)) == (26, 102)

    for group in groups:
        who = as_group(site, group)
        found = set(site.ids("DocumentReference", who, patient=reference, _count="200"))
        wanted = {documents[code] for code in documents if matrix[group, code]}
        assert found == wanted, group
        for code in Random(group).sample(sorted(documents), 3):
            answer = site.get(f"DocumentReference/{documents[code]}", who)
            assert answer.status_code == (200 if matrix[group, code] else 404), (group, code)


@pytest.mark.drill
@pytest.mark.timeout(3_600)
def test_mat_the_whole_matrix_read_is_the_csv(sqlite_site: Site) -> None:
    site, matrix = sqlite_site, cells()
    _, documents = filed(site)

    for (group, code), is_open in matrix.items():
        answer = site.get(f"DocumentReference/{documents[code]}", as_group(site, group))
        assert answer.status_code == (200 if is_open else 404), (group, code)
