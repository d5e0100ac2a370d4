"""Synthetic traffic is repeatable, distinct message by message, fast, and of people who cannot exist."""

from __future__ import annotations

import itertools
import re
import time
from collections import Counter

import pytest

from broker import simulation
from broker.simulation_people import INS_TEST_OID, ins_key, person


def field(message: bytes, segment: str, number: int) -> str:
    """Field `number` of the first `segment`, counted as HL7 does for segments other than MSH."""
    line = next(line for line in message.decode().split("\r") if line.startswith(segment + "|"))
    return line.split("|")[number if segment != "MSH" else number - 1]


@pytest.mark.parametrize(
    ("thirteen", "key"),
    [("2790351215189", "89"), ("2600588154002", "33"), ("255022A004012", "84"), ("255022B004012", "14"),
     ("2550299352001", "08")],
)  # fmt: skip
def test_the_key_of_an_ins_is_that_of_the_published_vectors(thirteen: str, key: str) -> None:
    assert ins_key(thirteen) == key


def test_an_invented_person_has_a_right_key_in_a_commune_that_does_not_exist() -> None:
    for number in range(300):
        who = person(number)
        assert ins_key(who.ins[:13]) == who.ins[13:]
        assert who.ins[7:10] == "999"
        assert who.birthplace.endswith("999")


def test_ten_thousand_people_are_ten_thousand_ins() -> None:
    assert len({person(number).ins for number in range(10_000)}) == 10_000


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others() -> None:
    def first(seed: int) -> list[bytes]:
        return [one.body for one in itertools.islice(simulation.messages(seed), 60)]

    assert first(1) == first(1)
    assert first(1) != first(2)


def test_every_kind_of_the_mix_comes_in_about_its_share_and_no_control_id_twice() -> None:
    samples = list(itertools.islice(simulation.messages(5), 2_000))

    shares = Counter(one.kind for one in samples)
    assert len({one.control_id for one in samples}) == len(samples)
    for kind, share in simulation.MIX.items():
        assert share / 2 < shares[kind] / len(samples) < share * 2


def test_a_sample_says_its_media_and_does_not_show_its_body() -> None:
    one = next(simulation.messages(1, {"fhir": 1}))

    assert (one.kind, one.media) == ("fhir", simulation.FHIR)
    assert person(one.patient).ins not in repr(one)
    assert person(one.patient).ins in one.body.decode()


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="fax"):
        next(simulation.messages(1, {"fax": 1}))


def test_fast_adt_and_oru_number_each_message_and_each_report() -> None:
    adts = list(simulation.adt(50, patients=7))
    orus = list(simulation.oru(50, 20, patients=7))

    assert {field(m, "MSH", 9).split("^")[1] for m in adts} == {"A01", "A08"}
    assert len({field(m, "MSH", 10) for m in adts}) == 50
    assert len({field(m, "OBR", 3) for m in orus}) == 50
    assert all(m.count(b"\rOBX|") == 20 for m in orus)
    assert INS_TEST_OID in field(adts[0], "PID", 3)
    assert field(adts[0], "PID", 32) == "VALI"


def test_two_runs_share_neither_control_ids_nor_document_ids() -> None:
    def ids(run: str) -> set[bytes]:
        samples = itertools.islice(simulation.messages(1, {"cda": 1}, run=run), 20)
        return {
            re.findall(rb'<id root="(1\.2\.250\.1\.999\.1\.[^"]+)"', one.body)[0] for one in samples
        }

    assert len(ids("A")) == 20
    assert not ids("A") & ids("B")
    assert all(len(oid) <= 64 for oid in ids("LONG-RUN"))


def test_a_sequence_gives_each_patient_its_updates_in_order() -> None:
    sequence = list(simulation.adt_sequence(3, patients=4))

    assert len(sequence) == 16
    beds = [field(m, "PV1", 3).split("^")[2] for index, _, m in sequence if index == 2]
    assert beds == ["0", "1", "2", "3"]


def test_the_fast_generators_do_not_slow_a_benchmark_down() -> None:
    list(simulation.adt(1))

    started = time.perf_counter()
    count = sum(len(message) > 0 for message in simulation.adt(20_000, patients=200))
    seconds = time.perf_counter() - started

    assert count == 20_000
    assert seconds < 4
