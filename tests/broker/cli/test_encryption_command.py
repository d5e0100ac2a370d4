"""`carnet encryption`: begin, count, seal what is older, rotate; what the doctor says of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.broker.cli.command import carnet
from tests.broker.lane_site import LaneSite, adt


@pytest.fixture
def site(tmp_path: Path) -> Iterator[LaneSite]:
    """An installation that has been at work and encrypts nothing."""
    made = LaneSite(tmp_path, f"sqlite:///{tmp_path / 'carnet.db'}")
    made.receive(adt("66001", "c1"), adt("66002", "c2"))
    made.work()
    yield made
    made.close()


def test_from_plain_to_sealed_to_another_master_key(site: LaneSite) -> None:
    config = ("--config", str(site.file))
    before = carnet("encryption", "status", *config, "--json")
    assert (before.code, before.lines[0]["master"]) == (1, None)
    assert before.lines[0]["rows"]["message_body"] == {"sealed": 0, "erased": 0, "plain": 2}

    begun = carnet("encryption", "init", "--because", "test", *config, "--json")
    again = carnet("encryption", "init", "--because", "test", *config, "--json")
    sealed = carnet("encryption", "seal", *config, "--json")
    after = carnet("encryption", "status", *config, "--json")
    rotated = carnet("encryption", "rotate", "--because", "test", *config, "--json")

    assert (begun.lines[0]["begun"], again.lines[0]["begun"]) == (True, False)
    assert (sealed.code, sealed.lines[0]["done"], sealed.lines[0]["message_body"]) == (0, True, 2)
    assert (after.code, after.lines[0]["rows"]["message_body"]["sealed"]) == (0, 2)
    assert rotated.lines[0]["retired"] == [begun.lines[0]["master"]]
    assert rotated.lines[0]["keys"] == sum(key["n"] for key in after.lines[0]["keys"])
    # No key is shown by any of them.
    secrets = [
        line.split()[1]
        for line in Path(begun.lines[0]["keyring"]).read_text().splitlines()
        if line[0] != "#"
    ]
    shown = "".join(one.out + one.err for one in (begun, sealed, after, rotated))
    assert len(secrets) == 2
    assert not [secret for secret in secrets if secret in shown]


def test_the_doctor_names_a_keyring_that_is_gone_and_one_that_others_can_read(
    site: LaneSite,
) -> None:
    config = ("--config", str(site.file))
    ring = Path(
        carnet("encryption", "init", "--because", "test", *config, "--json").lines[0]["keyring"]
    )

    ring.chmod(0o644)
    open_to_all = carnet("doctor", *config, "--json").lines
    ring.unlink()
    gone = carnet("doctor", *config, "--json")

    assert [c["level"] for c in open_to_all if c["name"] == "encryption"] == ["warn"]
    assert [c["level"] for c in gone.lines if c["name"] == "master keys"] == ["fail"]
    refused = carnet("messages", "list", *config)
    assert (refused.code, "encryption.keyring" in refused.err) == (2, True)
