"""A marked patient is searched, read and asked for wrongly (A7): no log, metric, error, link or header shows a mark."""

from __future__ import annotations

import json
import re
from urllib.parse import quote

import httpx
from prometheus_client import generate_latest
from sqlalchemy import text

from tests.web import papers
from tests.web.site import OTHER_INS, Site, bearer

FAMILY = "ZZCANARI"
MARKS = (FAMILY.lower(), OTHER_INS, "zztexte", "zzmotif")


def asked(site: Site, patient: int, document: str) -> list[httpx.Response]:
    """Requests of every kind, good and bad, with the marks wherever a client may put them."""
    who, reference = site.physician(), site.reference(patient)
    loud = who | {"User-Agent": FAMILY, "X-Carnet-Mode": FAMILY, "X-Request-Id": OTHER_INS}
    wrong = bearer(site.issuer.sign({"SubjectNameID": FAMILY + " zztexte", "name": FAMILY}))
    get, form = site.http.get, {"Content-Type": "application/x-www-form-urlencoded"}
    return [
        get("Patient", headers=who, params={"identifier": OTHER_INS}),
        get("DocumentReference", headers=who, params={"patient.identifier": OTHER_INS, "_count": "1"}),
        get("DocumentReference", headers=who, params={"patient": reference, "type": FAMILY}),
        get("DocumentReference", headers=who, params={"patient": reference, FAMILY: OTHER_INS}),
        get("DocumentReference", headers=who, params={"patient": FAMILY + " " + OTHER_INS}),
        get("DocumentReference", headers=who, params={"patient": reference, "date": FAMILY}),
        get("DocumentReference", headers=who, params={"_page": FAMILY + OTHER_INS}),
        get("DocumentReference", headers=loud, params={"patient": reference}),
        get("DocumentReference", headers=wrong, params={"patient": reference}),
        get("DocumentReference", headers=bearer(FAMILY + OTHER_INS), params={"patient": reference}),
        get(f"DocumentReference/{document}", headers=who),
        get(f"DocumentReference/{FAMILY}-{OTHER_INS}", headers=who),
        get(f"{FAMILY}/{OTHER_INS}", headers=who),
        get("Observation", headers=who | {"X-Carnet-Mode": "centre_15", "X-Carnet-Reason": quote("zzmotif é")}, params={"patient": reference}),
        site.http.post("Patient/_search", headers=who | form, content=f"{FAMILY}={OTHER_INS}".encode()),
        site.http.post("Patient/_search", headers=who, content=f"{FAMILY}={OTHER_INS}".encode()),
        site.http.request("DELETE", f"Patient/{OTHER_INS}", headers=who),
    ]  # fmt: skip


def test_no_log_metric_error_link_or_header_shows_the_canary(sqlite_site: Site) -> None:
    site = sqlite_site
    patient = site.person(OTHER_INS, FAMILY)
    letter = papers.structured(1, comments="zztexte")
    site.put(patient, letter, papers.letter(2))

    answers = asked(site, patient, letter.id)
    with site.engine.begin() as connection:
        connection.execute(text("DROP TABLE access_line"))
    answers += asked(site, patient, letter.id)

    outputs = {
        "log": site.log.getvalue(),
        "metrics": generate_latest(site.telemetry.registry).decode(),
    }
    for number, one in enumerate(answers):
        outputs[f"headers {number}"] = str(one.headers)
        if one.status_code >= 400:
            outputs[f"error {number}"] = one.text
        links = re.findall(r'"(?:url|fullUrl|reference)":"([^"]*)"', one.text)
        outputs[f"links {number}"] = " ".join(links)
    leaks = [
        (mark, name) for name, told in outputs.items() for mark in MARKS if mark in told.lower()
    ]

    assert leaks == []
    statuses = {one.status_code for one in answers}
    assert statuses >= {200, 400, 401, 403, 404, 405, 415}
    assert statuses & {500, 503}
    assert FAMILY in answers[0].text
    assert 'carnet_web_answered_total{code="200",kind="Patient"' in outputs["metrics"]
    events = {json.loads(line)["event"] for line in outputs["log"].splitlines()}
    assert "web_answered" in events
