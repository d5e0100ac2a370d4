"""Where is the result of an order? One question, whatever number it is and whatever format it came in."""

from __future__ import annotations

import hl7
import pytest

from tests.story.site import SAMPLES, Site


@pytest.mark.parametrize("site", ["services", pytest.param("embedded", marks=pytest.mark.drill)], indirect=True)  # fmt: skip
def test_a_result_is_found_by_anybodys_number_of_the_order(site: Site) -> None:
    body = (SAMPLES / "04-oru-utf8.hl7").read_bytes()
    obr = hl7.parse(body.decode()).segments("OBR")[0]
    numbers = [str(obr[field]).partition("^")[0] for field in (2, 3) if str(obr[field])]
    patient = str(hl7.parse(body.decode()).segment("PID")[3]).partition("^")[0]
    assert numbers

    with site.serving():
        site.send_mllp(body, (SAMPLES / "01-adt-a01.hl7").read_bytes())
        site.await_settled(2)
        by_number = [site.carnet("messages", "find", "order", stdin=f"{n}\n") for n in numbers]
        both = site.carnet(
            "messages", "find", "patient", "order", stdin=f"{patient}\n{numbers[0]}\n"
        )
        another = site.carnet(
            "messages", "find", "patient", "order", stdin=f"nobody\n{numbers[0]}\n"
        )
        told = site.carnet("messages", "timeline", by_number[0][1][0]["id"])[1]

    control_id = str(hl7.parse(body.decode()).segment("MSH")[10])
    for code, lines in [*by_number, both]:
        assert (code, [line["control_id"] for line in lines]) == (0, [control_id])
    assert another == (1, [])
    assert told[0]["step"] == "received"
    assert {step["step"] for step in told} >= {"map", "decide", "answered"}
