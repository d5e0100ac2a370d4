"""A8, A10, A11 against the record's API: nobody reaches another's record, makes us call out, or changes a statement."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import jwt
import pytest

from broker.database.engine import writing
from broker.records import consents
from broker.web.resources import RESOURCES
from tests.broker import ledger
from tests.broker.records import record
from tests.web import papers
from tests.web.issuer import AUDIENCE
from tests.web.site import CONSULTATION, DISCHARGE, INS, OTHER_INS, Site, bearer, ids_of


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    engine = ledger.new(f"sqlite:///{tmp_path / 'carnet.db'}")
    made = Site(engine, tmp_path)
    yield made
    made.close()
    engine.dispose()


def two_records(site: Site) -> tuple[str, str, list[str]]:
    """Two patients' references, and every name under which the second one's things are served."""
    mine, other = site.person(INS), site.person(OTHER_INS)
    site.put(mine, papers.structured(1, unique_id="1.2.1", attachments=(site.store(patient=mine),)))
    site.put(
        other,
        papers.structured(
            2, unique_id="1.2.2", attachments=(site.store(b"another", patient=other),)
        ),
    )
    with writing(site.engine) as connection:
        said = consents.Said("jd", "counter", record.NOW)
        consents.block(connection, other, "899900000045", True, said)
    reference = site.reference(other)
    bundle = site.get(f"{reference}/$everything", site.patient(OTHER_INS)).json()
    names = [f"{x['resource']['resourceType']}/{x['resource']['id']}" for x in bundle["entry"]]
    document = next(x["resource"] for x in bundle["entry"] if x["resource"]["resourceType"] == "DocumentReference")  # fmt: skip
    url = document["content"][0]["attachment"]["url"]
    return site.reference(mine), reference, [*names, url.partition("/fhir/")[2]]


def test_a8_a_patient_reads_nothing_of_another_however_it_is_named(site: Site) -> None:
    mine, other, names = two_records(site)
    who = site.patient(INS)
    assert {name.partition("/")[0] for name in names} == set(RESOURCES)

    for name in names:
        for path in (
            name,
            f"{name}/_history",
            f"{name}/_history/1",
            f"{name}/$everything",
            f"{name}/",
        ):
            assert site.get(path, who).status_code == 404, path
    for kind in RESOURCES:
        if not RESOURCES[kind].searched or kind == "Patient":
            continue
        tricks = (
            [("patient", other)],
            [("patient", mine), ("patient", other)],
            [("subject", other)],
            [("patient.identifier", f"urn:oid:1.2.250.1.213.1.4.10|{OTHER_INS}")],
            [("patient", mine), ("patient.identifier", OTHER_INS)],
            [("_id", next(x for x in names if x.startswith(kind)).partition("/")[2])],
        )
        for trick in tricks:
            answer = site.http.get(kind, headers=who, params=trick)
            assert answer.status_code == 200, (kind, trick)
            assert ids_of(answer.json()) == [], (kind, trick)
    for include in ("*", "DocumentReference:*", "Observation:subject:Group", "Patient:link"):
        answer = site.http.get("Observation", headers=who, params={"patient": mine, "_include": include})  # fmt: skip
        assert answer.status_code == 400, include
    for more in (
        "_revinclude",
        "_has:Observation:patient:code",
        "_contained",
        "_elements",
        "_filter",
    ):
        answer = site.http.get("Observation", headers=who, params={"patient": mine, more: "x"})
        assert answer.status_code == 400, more


def test_a8_a_host_header_changes_neither_path_nor_links(site: Site) -> None:
    patient = site.person()
    site.put(patient, papers.letter())
    about = {"patient": site.reference(patient)}

    for host in ("x/fhir/metadata?", "evil.example", "evil.example/fhir/metadata#"):
        answer = site.http.get("DocumentReference", headers=site.physician() | {"Host": host}, params=about)  # fmt: skip
        assert answer.status_code in (200, 400), host
        assert "evil.example" not in answer.text
        assert "CapabilityStatement" not in answer.text
        nobody = site.http.get("DocumentReference", headers={"Host": host}, params=about)
        assert nobody.status_code in (400, 401), host


def test_a8_ids_of_patients_cannot_be_counted_through(site: Site) -> None:
    two_records(site)
    who = site.physician()

    for guess in [
        *(str(n) for n in range(5)),
        "0" * 32,
        "f" * 32,
        "1".rjust(32, "0"),
        "x" * 64,
    ]:
        assert site.get(f"Patient/{guess}", who).status_code == 404, guess
        assert "entry" not in site.search("DocumentReference", who, patient=f"Patient/{guess}")


def test_a8_a_link_of_a_page_is_only_its_owners(site: Site) -> None:
    patient = site.person()
    site.put(patient, *(papers.letter(n) for n in range(3)))
    mode = {"X-Carnet-Mode": "centre_15", "X-Carnet-Reason": "appel"}
    bundle = site.search("DocumentReference", site.physician(), patient=site.reference(patient), _count="1")  # fmt: skip
    link = next(one["url"] for one in bundle["link"] if one["relation"] == "next")
    others = {
        "another professional": site.podiatrist(),
        "the patient": site.patient(),
        "another application": site.physician(client_id="other-software"),
        "another place": site.physician(SubjectOrganizationID="750000002"),
        "another profession": bearer(site.issuer.professional("899900000029", "60")),
        "another mode": site.physician() | mode,
    }
    changed = [
        link[:-2] + ("AA" if not link.endswith("AA") else "BB"),
        link[:-9],
        link + "A" * 9_000,
    ]

    assert site.http.get(link, headers=site.physician()).status_code == 200
    for name, who in others.items():
        assert site.http.get(link, headers=who).status_code == 404, name
    for one in changed:
        assert site.http.get(one, headers=site.physician()).status_code in (400, 404), one[-20:]
    elsewhere = link.replace("/DocumentReference?", "/Observation?")
    assert site.http.get(elsewhere, headers=site.physician()).status_code == 404
    assert site.http.get(f"{link}&_count=200", headers=site.physician()).status_code == 400
    narrow = site.physician(scope="user/Observation.rs")
    assert site.http.get(link, headers=narrow).status_code == 403
    assert INS not in link
    assert site.reference(patient).partition("/")[2] not in link


def test_a8_a_link_ends(tmp_path: Path) -> None:
    engine = ledger.new(f"sqlite:///{tmp_path / 'carnet.db'}")
    site = Site(engine, tmp_path, search_ttl=timedelta(seconds=1))
    try:
        patient = site.person()
        site.put(patient, papers.letter())
        bundle = site.search("DocumentReference", site.physician(), patient=site.reference(patient))
        deadline = time.monotonic() + 30
        while site.http.get(bundle["link"][0]["url"], headers=site.physician()).status_code != 404:
            assert time.monotonic() < deadline
    finally:
        site.close()
        engine.dispose()


def test_a8_what_was_hidden_meanwhile_is_gone_from_the_next_page(site: Site) -> None:
    patient = site.person()
    written = [papers.letter(n, DISCHARGE if n == 0 else CONSULTATION) for n in range(3)]
    site.put(patient, *written)
    bundle = site.search("DocumentReference", site.podiatrist(), patient=site.reference(patient), _count="2")  # fmt: skip

    assert ids_of(bundle) == [written[2].id, written[1].id]
    assert [one["relation"] for one in bundle["link"]] == ["self"]


class Trap:
    """Something on this machine that must never be called; `calls` counts who did."""

    def __init__(self) -> None:
        self.calls = 0
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.settimeout(0.05)
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def _run(self) -> None:
        while not self._ends.is_set():
            try:
                self._listening.accept()[0].close()
                self.calls += 1
            except TimeoutError:
                continue

    def stop(self) -> None:
        self._ends.set()
        self._thread.join()
        self._listening.close()


def test_a10_nothing_in_a_request_makes_us_call_out(site: Site) -> None:
    patient = site.person()
    site.put(patient, papers.letter())
    trap = Trap()
    try:
        key = site.issuer.keys["k1"]
        claims = {
            "sub": "x",
            "aud": AUDIENCE,
            "exp": int(time.time()) + 60,
            "SubjectNameID": "899900000029",
        }
        tokens = [
            jwt.encode(claims | {"iss": trap.url}, key, "RS256", headers={"kid": "k1"}),
            *(
                jwt.encode(claims | {"iss": site.issuer.url}, key, "RS256", headers={"kid": "t", name: f"{trap.url}/k"})
                for name in ("jku", "x5u")
            ),
        ]  # fmt: skip
        for token in tokens:
            assert site.get("Patient", bearer(token)).status_code == 401
        for name, value in itertools.product(
            ("patient", "subject", "type", "identifier", "_id", "_include"),
            (f"{trap.url}/Patient/1", f"{trap.url}/ValueSet/x", "http://169.254.169.254/Patient/1"),
        ):
            answer = site.http.get("DocumentReference", headers=site.physician() | {"Host": trap.url[7:]}, params=[("patient", site.reference(patient)), (name, value)])  # fmt: skip
            assert answer.status_code in (200, 400)
            assert trap.url not in answer.text
        assert trap.calls == 0
    finally:
        trap.stop()


INJECTIONS = (
    "'", "' OR '1'='1", '" OR ""="', "1; DROP TABLE document--", "x') UNION SELECT * FROM patient--", "\\", "%00",
    "\x00", "$(id)", "*)(uid=*", "{{7*7}}", "%' OR 1=1--", "|", "||", "|'", "a|b|c", ",,,", "\\,", "../../etc/passwd",
    "ge2026-01-01' OR 1=1", "2026-13-45", "9999-12-31T23:59:60Z", "ge0001-01-01T00:00:00+14:00", "\u202e", "😀" * 100,
    ":[]{}()", "1e999", "-1", "0" * 400,
)  # fmt: skip


def test_a11_no_value_changes_what_is_asked_of_the_database(site: Site) -> None:
    patient, other = site.person(INS), site.person(OTHER_INS)
    own = papers.letter(1)
    site.put(patient, own)
    site.put(other, papers.letter(2))
    who, about = site.physician(), site.reference(patient)
    names = ("type", "identifier", "date", "_id", "_sort", "_count", "_include", "patient", "patient.identifier",
             "author.family", "_lastUpdated", "_page", "_format")  # fmt: skip

    for name, value in itertools.product(names, INJECTIONS):
        answer = site.http.get("DocumentReference", headers=who, params=[("patient", about), (name, value)])  # fmt: skip
        assert answer.status_code in (200, 400, 404, 406), (name, value, answer.status_code)
        if answer.status_code == 200:
            assert set(ids_of(answer.json())) <= {own.id}, (name, value)
    for value in INJECTIONS:
        for path in ("Patient/", "DocumentReference/", "Observation/", "Binary/"):
            shown = site.http.get(path + quote(value, safe=""), headers=who)
            assert shown.status_code in (400, 404), (path, value)
        reason = {"X-Carnet-Mode": "bris_de_glace", "X-Carnet-Reason": quote(value, safe="")}
        answer = site.http.get("DocumentReference", headers=who | reason, params={"patient": about})
        assert answer.status_code in (200, 400), value
    assert site.count("document") == 2
