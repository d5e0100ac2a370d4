"""`carnet messages timeline` of a message whose partner answered later, and about which a person decided."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from broker import operating
from broker.events import REASONS
from tests.broker.answer_site import acknowledgement, answered, delivery, send
from tests.broker.cli.command import Result, carnet
from tests.broker.lane_site import LaneSite, adt


class Refused:
    """A site whose partner took a message over, refused it later, and was sent it again by a person."""

    def __init__(self, folder: Path) -> None:
        self.site = LaneSite(folder, f"sqlite:///{folder / 'carnet.db'}")
        (self.sent,) = send(self.site, adt("1", "C1"))
        (self.answer,) = answered(self.site, acknowledgement("C1", "AE"))
        number = delivery(self.site, self.sent).id
        act = self.site.act("they mended it, ticket 4711")
        operating.release_deliveries(self.site.engine, [number], act)

    def carnet(self, *arguments: str) -> Result:
        return carnet(*arguments, "--config", str(self.site.file))


@pytest.fixture
def refused(tmp_path: Path) -> Iterator[Refused]:
    made = Refused(tmp_path)
    yield made
    made.site.close()


def test_people_read_the_late_answer_beside_the_first_and_who_sent_it_again(
    refused: Refused,
) -> None:
    told = refused.carnet("messages", "timeline", "C1")

    lines = [line.split(maxsplit=1)[1] for line in told.out.splitlines() if "dmp" in line]
    tail = [" ".join(line.split()) for line in lines][-4:]
    assert tail[0] == "attempt 1 to dmp sent CA"
    assert tail[1].startswith("application answer of dmp awaited until ")
    assert tail[2].startswith("application answer of dmp AE parked: answer.AE: ")
    assert tail[2].endswith(f"; message {refused.answer}")
    assert tail[3].startswith("delivery to dmp released answer.AE: ")
    assert tail[3].endswith("; by jd: they mended it, ticket 4711")
    assert "EXEMPLE" not in told.out


def test_programs_read_the_same_by_key(refused: Refused) -> None:
    lines = refused.carnet("messages", "timeline", "C1", "--json").lines

    late, released = lines[-2:]
    assert all(line.keys() == late.keys() for line in lines)
    assert (late["step"], late["outcome"], late["message"], late["by"], late["why"]) == (
        "application answer of dmp", "AE parked: answer.AE", refused.answer, None, None,
    )  # fmt: skip
    assert late["words"] == REASONS["answer.AE"].en
    assert (released["step"], released["by"], released["why"], released["message"]) == (
        "delivery to dmp released", "jd", "they mended it, ticket 4711", None,
    )  # fmt: skip


def test_the_list_of_what_is_parked_shows_the_late_code_and_the_attempt_the_first(
    tmp_path: Path,
) -> None:
    site = LaneSite(tmp_path, f"sqlite:///{tmp_path / 'carnet.db'}")
    send(site, adt("1", "C1"))
    answered(site, acknowledgement("C1", "AE"))

    (line,) = carnet("parked", "list", "--json", "--config", str(site.file)).lines
    (one,) = carnet("parked", "show", line["id"], "--json", "--config", str(site.file)).lines
    site.close()

    assert (line["answer_code"], line["reason"]) == ("AE", "answer.AE")
    assert [(a["outcome"], a["answer_code"]) for a in one["tries"]] == [("sent", "CA")]
