"""Who is let in: tokens of the issuers that are named, for this API, in time, signed as allowed, with the scopes asked for."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from sqlalchemy import text
from starlette.datastructures import Headers

from broker.settings_tables import Issuer as IssuerSettings
from broker.web.caller import caller_of, scopes_of
from broker.web.keys import Keys
from broker.web.refusing import RefusedError
from broker.web.tokens import LEEWAY_SECONDS, Tokens
from tests.web import papers
from tests.web.issuer import AUDIENCE, Issuer
from tests.web.site import INS, PHYSICIAN, Site, bearer


def wrong_tokens(site: Site) -> dict[str, str]:
    """Tokens that must not be taken, by what is wrong with them."""
    claims = {"SubjectNameID": PHYSICIAN[0], "SubjectRole": ["MEDECIN"]}
    good = site.issuer.sign(claims)
    head, body, signature = good.split(".")
    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    told = jwt.decode(good, options={"verify_signature": False})

    def part(value: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    public = json.dumps(site.issuer.public("k1"))
    return {
        "no signature": f"{head}.{body}.",
        "alg none": f"{part({'alg': 'none', 'typ': 'JWT'})}.{body}.",
        "alg none with a signature": f"{part({'alg': 'none', 'kid': 'k1'})}.{body}.{signature}",
        "the public key as a secret": jwt.encode(told, "x" * 40 + public[:8], algorithm="HS256", headers={"kid": "k1"}),
        "another key": jwt.encode(told, stranger, algorithm="RS256", headers={"kid": "k1"}),
        "an unknown key": jwt.encode(told, stranger, algorithm="RS256", headers={"kid": "k9"}),
        "changed claims": f"{head}.{part(told | {'SubjectNameID': '899900000777'})}.{signature}",
        "another issuer": site.issuer.sign(claims | {"iss": "https://elsewhere.example"}),
        "a patient's issuer": site.patients.sign(claims | {"iss": site.issuer.url}),
        "another audience": site.issuer.sign(claims | {"aud": "https://elsewhere.example"}),
        "no audience": site.issuer.sign(claims | {"aud": None}),
        "over": site.issuer.sign(claims | {"exp": int(time.time()) - 60}),
        "without end": site.issuer.sign(claims | {"exp": None}),
        "not yet": site.issuer.sign(claims | {"nbf": int(time.time()) + 120}),
        "no subject": site.issuer.sign(claims | {"sub": None}),
        "an algorithm that is not allowed": jwt.encode(told, site.issuer.keys["k1"], algorithm="RS512", headers={"kid": "k1"}),
        "a token of another kind": site.issuer.sign(claims, typ="logout+jwt"),
        "words": "not.a.token",
        "too long": "x" * 9_000,
        "deep": f"{part({'alg': 'RS256', 'kid': 'k1'})}.{base64.urlsafe_b64encode(b'[' * 5_000).decode()}.{signature}",
    }  # fmt: skip


def test_a_token_with_anything_wrong_is_refused_before_the_body_is_read(sqlite_site: Site) -> None:
    site = sqlite_site
    wrong = wrong_tokens(site) | {"none": ""}
    for name, token in wrong.items():
        with site.statements() as made:
            # A body that would be refused by itself: it is never looked at.
            answer = site.http.post(
                "DocumentReference/_search",
                headers=(bearer(token) if token else {}) | {"Content-Type": "application/json"},
                content=b"{",
            )
        assert answer.status_code == 401, name
        assert answer.headers["www-authenticate"].startswith("Bearer"), name
        assert answer.json()["resourceType"] == "OperationOutcome", name
        assert made == [], name


def test_a_token_that_was_right_is_over_when_it_runs_out_or_its_key_is_withdrawn() -> None:
    """It is believed without a look at its signature for a minute, not past its end and not past its key."""
    issuer = Issuer()
    later = [0.0]
    named = IssuerSettings(url=issuer.url, audience=AUDIENCE)
    ending = issuer.sign(
        {"SubjectNameID": PHYSICIAN[0], "exp": int(time.time()) - LEEWAY_SECONDS + 2}
    )
    lasting = issuer.sign({"SubjectNameID": PHYSICIAN[0]})

    async def is_taken(tokens: Tokens, one: str) -> bool:
        try:
            _, claims = await tokens.right(Headers({"Authorization": f"Bearer {one}"}))
        except RefusedError as error:
            assert error.status == 401
            return False
        assert claims["SubjectNameID"] == PHYSICIAN[0]
        return True

    async def look() -> None:
        async with httpx.AsyncClient() as client:
            keys = Keys(named, client, lambda: time.monotonic() + later[0])
            tokens = Tokens({issuer.url: (named, keys)})
            assert await is_taken(tokens, ending)
            assert await is_taken(tokens, lasting)
            assert not await is_taken(tokens, f"{lasting[:-4]}AAAA")
            until = time.monotonic() + 30
            while await is_taken(tokens, ending):
                assert time.monotonic() < until, "it has run out"
            assert await is_taken(tokens, lasting)
            issuer.keys["k2"] = issuer.keys.pop("k1")
            later[0] = 601.0
            assert not await is_taken(tokens, lasting), "its key is not the issuer's any more"

    try:
        asyncio.run(look())
    finally:
        issuer.stop()


def test_a_good_token_in_another_scheme_is_none(sqlite_site: Site) -> None:
    token = sqlite_site.physician()["Authorization"].partition(" ")[2]
    for said in (f"Basic {token}", token, "Bearer", "Bearer "):
        answer = sqlite_site.http.get("Patient", headers={"Authorization": said.strip()})
        assert answer.status_code == 401, said


def test_a_stranger_cannot_make_us_fetch_keys_again_and_again(sqlite_site: Site) -> None:
    site = sqlite_site
    site.get("DocumentReference", site.physician())
    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    told = jwt.decode(
        site.issuer.sign({"SubjectNameID": "899900000029"}), options={"verify_signature": False}
    )

    for number in range(20):
        token = jwt.encode(told, stranger, algorithm="RS256", headers={"kid": f"x{number}"})
        assert site.get("Patient", bearer(token)).status_code == 401

    assert site.issuer.asked == 1


def test_scopes_open_what_they_name_and_nothing_else(sqlite_site: Site) -> None:
    site = sqlite_site
    patient = site.person()
    reference = site.reference(patient)
    letter = papers.structured()
    site.put(patient, letter)
    asked = {"patient": reference}
    table = (
        ("user/*.rs", 200, 200),
        ("user/*.read", 200, 200),
        ("user/DocumentReference.rs user/Patient.r", 200, 200),
        ("user/DocumentReference.s", 200, 403),
        ("user/DocumentReference.r", 403, 200),
        ("user/Observation.rs", 403, 403),
        ("patient/*.rs", 403, 403),
        ("system/*.rs", 403, 403),
        ("user/DocumentReference.cud", 403, 403),
        ("user/DocumentReference.rs?category=x", 403, 403),
        ("openid", 403, 403),
        (None, 403, 403),
    )
    for scope, of_search, of_read in table:
        who = site.physician(scope=scope)
        searched = site.http.post("DocumentReference/_search", headers=who, data=asked)
        read = site.get(f"DocumentReference/{letter.id}", who)
        assert (searched.status_code, read.status_code) == (of_search, of_read), scope
    narrow = site.physician(scope="user/DocumentReference.rs")
    included = site.http.post("DocumentReference/_search", headers=narrow, data=asked | {"_include": "DocumentReference:patient"})  # fmt: skip
    assert included.status_code == 403
    assert (
        site.get(
            f"{reference}/$everything", site.patient(scope="patient/DocumentReference.rs")
        ).status_code
        == 403
    )


PROFESSIONAL = IssuerSettings(url="https://psc.example", audience=AUDIENCE)


@pytest.mark.parametrize(
    ("claims", "profession"),
    [
        ({"SubjectRefPro": {"exercices": [{"codeProfession": "10", "codeSavoirFaire": "SM26"}]}}, "G15_10/SM26"),
        ({"SubjectRefPro": {"exercices": [{"codeProfession": "60"}]}}, "G15_60"),
        ({"SubjectRefPro": {"exercices": [{"codeProfession": "10"}, {"codeProfession": "60"}]}}, ""),
        ({"SubjectRole": ["10^1.2.250.1.213.1.1.5.5"]}, "G15_10"),
        ({"SubjectRole": ["PEDICURE_PODOLOGUE"]}, "PEDICURE_PODOLOGUE"),
        ({"SubjectRole": "80^1.2.250.1.71.1.2.7"}, "G15_80"),
        ({"SubjectRole": [{"code": "10"}]}, ""),
        ({}, ""),
    ],
)  # fmt: skip
def test_the_profession_is_the_one_that_the_claims_tell(
    claims: dict[str, Any], profession: str
) -> None:
    made = caller_of({"SubjectNameID": "899900000029"} | claims, PROFESSIONAL, Headers())

    assert made.viewer.profession == profession
    assert made.viewer.id == "899900000029"


@pytest.mark.parametrize("identity", [None, "", 42, "Dr Essai", "8\n99900000029", "x" * 41])
def test_a_token_that_names_nobody_is_for_nobody(identity: Any) -> None:
    from broker.web.refusing import RefusedError

    with pytest.raises(RefusedError) as refused:
        caller_of({"SubjectNameID": identity}, PROFESSIONAL, Headers())
    assert refused.value.status == 403


def test_scopes_are_read_as_smart_writes_them() -> None:
    assert scopes_of("user/Patient.rs user/*.read patient/X.rs", "user") == {("Patient", "rs"), ("*", "rs")}  # fmt: skip
    assert scopes_of(["user/List.s"], "user") == {("List", "s")}
    assert scopes_of({"user/*.rs": 1}, "user") == frozenset()


def test_emergency_needs_a_typed_reason_and_stands_in_the_trail(site: Site) -> None:
    patient = site.person()
    site.put(patient, papers.letter())
    mode = {"X-Carnet-Mode": "bris_de_glace"}
    about = {"patient": site.reference(patient)}

    without = site.http.post(
        "DocumentReference/_search", headers=site.physician() | mode, data=about
    )
    unknown = site.http.post("DocumentReference/_search", headers=site.physician() | {"X-Carnet-Mode": "please"}, data=about)  # fmt: skip
    holder = site.http.post("DocumentReference/_search", headers=site.patient() | mode | {"X-Carnet-Reason": "x"}, data=about)  # fmt: skip
    found = site.ids(
        "DocumentReference",
        site.physician() | mode | {"X-Carnet-Reason": "inconscient%2C d%C3%A9tresse"},
        **about,
    )

    assert (without.status_code, unknown.status_code, holder.status_code) == (400, 400, 403)
    assert len(found) == 1
    with site.engine.connect() as connection:
        (entry,) = connection.execute(text("SELECT mode, motive FROM audit_entry")).all()
        (visit,) = connection.execute(text("SELECT mode, motive FROM visit")).all()
    assert tuple(entry) == tuple(visit) == ("bris_de_glace", "inconscient, détresse")


def test_a_podiatrist_gets_centre_15_no_more_than_the_rules_give(sqlite_site: Site) -> None:
    site = sqlite_site
    patient = site.person()
    site.put(patient, papers.letter())
    mode = {"X-Carnet-Mode": "centre_15", "X-Carnet-Reason": "appel"}
    about = {"patient": site.reference(patient)}

    assert site.ids("DocumentReference", site.podiatrist() | mode, **about) == []
    assert len(site.ids("DocumentReference", site.physician() | mode, **about)) == 1


def test_a_patient_reads_their_own_record_and_no_other(site: Site) -> None:
    mine, other = site.person(), site.person("260058815400233")
    own, foreign = papers.letter(1), papers.letter(2)
    site.put(mine, own)
    site.put(other, foreign)
    who = site.patient(INS)

    assert site.ids("DocumentReference", who) == [own.id]
    assert site.ids("DocumentReference", who, patient=site.reference(other)) == []
    assert site.get(f"DocumentReference/{foreign.id}", who).status_code == 404
    assert site.get(site.reference(other), who).status_code == 404
    assert site.get(site.reference(mine), who).status_code == 200
    assert site.ids("DocumentReference", site.patient("154027512345678")) == []


def test_what_every_answer_carries(sqlite_site: Site) -> None:
    site = sqlite_site
    answers = [
        site.http.get("metadata"),
        site.http.get("openapi.json"),
        site.http.get("nowhere"),
        site.http.get("Patient"),
        site.http.delete("metadata"),
        site.get("DocumentReference", site.patient()),
    ]
    assert [one.status_code for one in answers] == [200, 200, 404, 401, 405, 200]
    for one in answers:
        assert one.headers["cache-control"] == "no-store"
        assert one.headers["x-content-type-options"] == "nosniff"
        assert "server" not in one.headers
    assert answers[4].headers["allow"] == "GET, HEAD"


def test_bounds_of_body_format_and_content_type(sqlite_site: Site) -> None:
    site, who = sqlite_site, sqlite_site.physician()
    form = {"Content-Type": "application/x-www-form-urlencoded"}

    def post(body: Any, headers: dict[str, str], path: str = "Patient/_search") -> httpx.Response:
        return site.http.post(path, headers=who | headers, content=body)

    assert post(b"x" * 70_000, form).status_code == 413
    assert post((b"x" * 10_000 for _ in range(8)), form).status_code == 413
    assert post(b"{}", {"Content-Type": "application/json"}).status_code == 415
    assert post(b"\xff\xfe=1", form).status_code == 400
    assert post(b"&".join(b"a=1" for _ in range(300)), form).status_code == 400
    assert post(b"identifier=1", form, "Patient/_search?identifier=1").status_code == 400
    assert site.get("metadata", {"Accept": "application/fhir+xml"}).status_code == 406
    assert site.get("metadata", {}, _format="xml").status_code == 406
    assert site.get("metadata", {}, _format="json").status_code == 200
