"""A real OpenID provider (npm's oidc-provider) gives the tokens: its discovery, its keys, its signatures."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from broker.settings_tables import Issuer as IssuerSettings
from tests.broker import ledger
from tests.web import papers
from tests.web.issuer import AUDIENCE
from tests.web.site import CONSENTED, CONSULTATION, DISCHARGE, Site, bearer

VERSION = "oidc-provider@8.8.1"


def missing(what: str) -> None:
    """Under scripts/test nothing may be missing; elsewhere the test is passed over with the reason."""
    if os.environ.get("CARNET_TEST_STRICT") == "1":
        pytest.fail(what, pytrace=False)
    pytest.skip(what)


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The provider's address."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        missing("npm and node are needed for a real OpenID provider")
    folder = tmp_path_factory.mktemp("oidc")
    (folder / "package.json").write_text('{"private": true}', encoding="utf-8")
    installed = subprocess.run(
        [str(npm), "install", "--no-audit", "--no-fund", "--ignore-scripts", VERSION],
        cwd=folder, capture_output=True, timeout=200, check=False,
    )  # fmt: skip
    if installed.returncode:
        missing(f"npm could not install {VERSION}")
    script = Path(__file__).with_name("provider.mjs")
    process = subprocess.Popen(
        [str(node), str(script), str(folder), AUDIENCE],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:"), "the provider did not start"
        yield address
    finally:
        process.kill()
        process.wait(30)
        if process.stdout is not None:
            process.stdout.close()


def token_of(provider: str, client: str) -> dict[str, str]:
    told = httpx.get(f"{provider}/.well-known/openid-configuration").json()
    answer = httpx.post(
        told["token_endpoint"],
        data={"grant_type": "client_credentials", "scope": "user/*.rs", "resource": AUDIENCE},
        auth=(client, "an%20invented%20secret"),
    )
    assert answer.status_code == 200, answer.text
    return bearer(answer.json()["access_token"]) | CONSENTED


@pytest.mark.timeout(300)
def test_tokens_of_a_real_provider_open_what_the_rules_open(provider: str, tmp_path: Path) -> None:
    engine = ledger.new(f"sqlite:///{tmp_path / 'carnet.db'}")
    issuers = (IssuerSettings(url=provider, audience=AUDIENCE),)
    site = Site(engine, tmp_path, issuer=issuers)
    elsewhere = Site(engine, tmp_path, issuer=(IssuerSettings(url=provider, audience="https://elsewhere.example"),))  # fmt: skip
    try:
        patient = site.person()
        discharge, visit = papers.letter(1, DISCHARGE), papers.letter(2, CONSULTATION)
        site.put(patient, discharge, visit)
        about = {"patient": site.reference(patient)}
        physician = token_of(provider, "physician-software")

        assert site.ids("DocumentReference", physician, **about) == [visit.id, discharge.id]
        podiatrist = token_of(provider, "podiatrist-software")
        assert site.ids("DocumentReference", podiatrist, **about) == [visit.id]
        assert site.get("Patient", site.physician()).status_code == 401
        assert elsewhere.get("Patient", physician).status_code == 401
    finally:
        site.close()
        elsewhere.close()
        engine.dispose()
