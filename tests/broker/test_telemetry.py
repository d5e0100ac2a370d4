"""Telemetry says what the catalogue allows, cheaply, and nothing of a patient."""

from __future__ import annotations

import io
import json
import logging
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest

from broker.events import EVENTS
from broker.telemetry import (
    MEASURES,
    MOST_LABEL_SETS,
    Telemetry,
    TelemetryError,
    hearing_libraries,
    place_of,
)
from broker.telemetry_pages import Pages, Snapshots, clear, merged, read, snapshot

MESSAGE_ID = "0192f1c0-5b7a-7cc3-8f00-0123456789ab"
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
PATIENT = [
    "CANARI^JEANNE",
    "Canari Jeanne",
    "184126322000143",
    "CANARI\nJEANNE",
    "née à Nîmes",
    "19841215 CANARI",
]


def made(level: str = "debug", *, strict: bool = True) -> tuple[Telemetry, io.StringIO]:
    stream = io.StringIO()
    return Telemetry(
        "worker", writer="w1", level=level, stream=stream, strict=strict, clock=lambda: NOON
    ), stream


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def value(telemetry: Telemetry, name: str, **labels: str) -> float | None:
    return telemetry.registry.get_sample_value(name, {"role": "worker", **labels})


class FullDisk(io.StringIO):
    """A log on a disk without room."""

    def write(self, _text: str) -> int:
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize("strict", [True, False])
def test_f03_a_log_that_cannot_be_written_costs_a_line_and_nothing_else(strict: bool) -> None:
    telemetry = Telemetry("worker", stream=FullDisk(), strict=strict)

    telemetry.emit("database_unavailable", code="database.unavailable")

    assert value(telemetry, "carnet_database_unavailable_total") == 1
    assert value(telemetry, "carnet_telemetry_dropped_total", why="log_unwritable") == 1


def test_an_event_becomes_a_json_line_and_a_counter() -> None:
    telemetry, stream = made()

    telemetry.emit(
        "held", source="lab", reason="identity.conflict", message_id=MESSAGE_ID, where="PID-3"
    )

    assert lines(stream) == [
        {
            "at_time": "2026-11-23T12:00:00.000+00:00",
            "level": "warning",
            "event": "held",
            "role": "worker",
            "writer": "w1",
            "source": "lab",
            "reason": "identity.conflict",
            "message_id": MESSAGE_ID,
            "where": "PID-3",
        }
    ]
    assert value(telemetry, "carnet_held_total", source="lab", reason="identity.conflict") == 1


def test_a_batch_costs_one_line_and_counts_each() -> None:
    telemetry, stream = made()

    telemetry.emit_many("filed", 250, source="lab")
    telemetry.emit_many("filed", 0, source="lab")

    assert [line["count"] for line in lines(stream)] == [250]
    assert value(telemetry, "carnet_filed_total", source="lab") == 250


def test_an_event_below_the_level_is_counted_and_not_logged() -> None:
    telemetry, stream = made("info")

    telemetry.emit("received", source="lab")

    assert stream.getvalue() == ""
    assert value(telemetry, "carnet_received_total", source="lab") == 1


def test_bound_fields_stand_on_every_line_of_a_message() -> None:
    telemetry, stream = made()
    bound = telemetry.bound(message_id=MESSAGE_ID, source="lab", stage="mapping")

    bound.emit("mapped")
    bound.emit("parked", reason="internal")

    assert [(line["event"], line["message_id"], line["stage"]) for line in lines(stream)] == [
        ("mapped", MESSAGE_ID, "mapping"),
        ("parked", MESSAGE_ID, "mapping"),
    ]


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("no_such_event", {}),
        ("held", {"source": "lab", "reason": "x", "family_name": "x"}),
        ("held", {"source": "lab", "reason": "x", "where": "DUPONT JEAN"}),
        ("held", {"source": "lab", "reason": "DUPONT^JEAN"}),
        ("held", {"source": "lab", "reason": "x", "message_id": "184126322000143"}),
    ],
)
def test_what_may_not_be_said_raises_under_test(name: str, fields: dict[str, str]) -> None:
    telemetry, _ = made()

    with pytest.raises(TelemetryError) as caught:
        telemetry.emit(name, **fields)

    assert "DUPONT" not in str(caught.value)


@pytest.mark.parametrize("secret", PATIENT)
@pytest.mark.parametrize(
    "field", ["source", "reason", "where", "message_id", "code", "stage", "peer", "name", "at"]
)
def test_canary_a_patients_value_reaches_neither_log_nor_metrics_in_production(
    field: str, secret: str
) -> None:
    telemetry, stream = made(strict=False)

    telemetry.emit("held", **{"source": "lab", "reason": "internal", field: secret})
    telemetry.emit("repaired", **{"source": "lab", field: secret})
    telemetry.observe("filing_seconds", 1, **{field: secret})

    metrics = generate_latest(telemetry.registry).decode()
    for text in (stream.getvalue(), metrics):
        assert secret not in text
        assert "CANARI" not in text.upper()
    assert "carnet_telemetry_dropped_total" in metrics


@pytest.mark.parametrize("place", ["PID-7", "line 12", "ClinicalDocument/id[2]/@root", "carnet.toml: source.lab.port",
                                   "Bundle.entry[0].resource", "entry 3"])  # fmt: skip
def test_a_place_in_the_senders_terms_is_said_as_it_is(place: str) -> None:
    telemetry, stream = made()

    telemetry.emit("parked", source="lab", reason="internal", where=place)

    assert lines(stream)[0]["where"] == place


def test_in_production_the_rest_of_the_event_is_still_said_and_the_drop_counted() -> None:
    telemetry, stream = made(strict=False)

    telemetry.emit(
        "held", source="lab", reason="internal", where="DUPONT JEAN", message_id=MESSAGE_ID
    )

    assert lines(stream)[0]["message_id"] == MESSAGE_ID
    assert value(telemetry, "carnet_telemetry_dropped_total", why="value") == 1
    assert value(telemetry, "carnet_held_total", source="lab", reason="internal") == 1


@given(st.text(min_size=1))
def test_no_text_can_forge_a_line_or_a_colour_in_the_log(text: str) -> None:
    telemetry, stream = made(strict=False)

    telemetry.emit("held", source="lab", reason=text, where=text)

    (only,) = stream.getvalue().splitlines()
    assert only.isprintable()
    assert only.isascii()


def test_label_sets_are_bounded_and_the_rest_is_other() -> None:
    telemetry, _ = made("error", strict=False)

    for number in range(MOST_LABEL_SETS + 50):
        telemetry.emit("received", source=f"s{number}")

    assert value(telemetry, "carnet_received_total", source="other") == 50
    assert value(telemetry, "carnet_telemetry_dropped_total", why="too_many_labels") == 50


def test_timings_and_levels_are_kept_by_name() -> None:
    telemetry, _ = made()

    telemetry.observe_many("filing_seconds", [0.002, 0.2], source="lab")
    telemetry.level("queue_depth", 7, topic="inbound")

    assert value(telemetry, "carnet_filing_seconds_count", source="lab") == 2
    assert value(telemetry, "carnet_filing_seconds_bucket", source="lab", le="0.0025") == 1
    assert value(telemetry, "carnet_queue_depth", topic="inbound") == 7
    with pytest.raises(TelemetryError):
        telemetry.level("no_such_measure", 1)


def test_events_and_measures_do_not_share_a_name_and_labels_are_bounded_words() -> None:
    assert not set(EVENTS) & set(MEASURES)
    allowed = {"source", "destination", "reason", "code", "role", "topic", "result", "kind", "policy", "name",
               "outcome", "stage", "transition", "channel", "library"}  # fmt: skip
    for event in EVENTS.values():
        assert set(event.labels) <= allowed, event.name


def test_the_place_of_an_error_is_its_file_and_line_and_never_its_text() -> None:
    try:
        raise ValueError("CANARI")
    except ValueError as error:
        place = place_of(error)

    assert place.startswith("broker/test_telemetry.py:")
    assert "CANARI" not in place


@contextmanager
def served(telemetry: Telemetry, **given_: Any) -> Iterator[str]:
    pages = Pages(telemetry, ("127.0.0.1", 0), **given_)
    pages.start()
    try:
        yield pages.address
    finally:
        pages.stop()


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_health_answers_and_ready_waits_for_every_component() -> None:
    telemetry, _ = made()

    with served(telemetry) as address:
        before = get(address + "/ready")
        telemetry.ready("database", True)
        telemetry.ready("mllp", False)
        half = get(address + "/ready")
        telemetry.ready("mllp", True)
        after = get(address + "/ready")
        health = get(address + "/health")
        absent = get(address + "/etc/passwd")

    assert before[0] == 503
    assert half[0] == 503
    assert json.loads(half[1])["roles"]["worker"]["mllp"] is False
    assert after[0] == 200
    assert health == (200, '{"alive":true}')
    assert absent[0] == 404


def test_several_processes_add_up_behind_one_address(tmp_path: Path) -> None:
    parent, _ = made("error")
    for number, filed in enumerate((3, 4)):
        child = Telemetry("worker", writer=f"w{number + 2}", level="error")
        child.emit_many("filed", filed, source="lab")
        child.level("queue_depth", 10 + number, topic="inbound")
        child.ready("database", True)
        (tmp_path / f"worker-{number}.json").write_bytes(_encoded(child, at=1000.0))

    with served(parent, folder=tmp_path, expects=("worker",), clock=lambda: 1001.0) as address:
        metrics = get(address + "/metrics")[1]
        ready = get(address + "/ready")

    assert 'carnet_filed_total{role="worker",source="lab"} 7.0' in metrics
    assert 'carnet_queue_depth{role="worker",topic="inbound"} 11.0' in metrics
    assert metrics.count("# TYPE carnet_filed_total counter") == 1
    assert ready[0] == 200


def test_a_dead_process_keeps_its_counts_loses_its_levels_and_is_not_ready(tmp_path: Path) -> None:
    parent, _ = made("error")
    child = Telemetry("gateway", writer="g1", level="error")
    child.emit_many("received", 3, source="lab")
    child.level("queue_depth", 5, topic="inbound")
    child.ready("mllp", True)
    (tmp_path / "gateway-1.json").write_bytes(_encoded(child, at=1000.0))

    with served(
        parent, folder=tmp_path, expects=("gateway", "courier"), clock=lambda: 1100.0
    ) as address:
        metrics = get(address + "/metrics")[1]
        status, body = get(address + "/ready")

    assert 'carnet_received_total{role="gateway",source="lab"} 3.0' in metrics
    assert "carnet_queue_depth" not in metrics
    assert status == 503
    assert json.loads(body)["roles"] == {"gateway": {"heard": False}, "courier": {"heard": False},
                                         "worker": {"heard": True}}  # fmt: skip


def _encoded(telemetry: Telemetry, at: float) -> bytes:
    one = msgspec.structs.replace(
        snapshot(telemetry, at), pid=hash(telemetry.writer) % 10_000 + 100_000_000
    )
    return msgspec.json.encode(one)


def test_snapshots_are_written_at_once_and_at_the_end_and_old_ones_forgotten(
    tmp_path: Path,
) -> None:
    telemetry, _ = made("error")
    folder = tmp_path / "telemetry"
    folder.mkdir()
    old = folder / "worker-0-1.json"
    old.write_bytes(_encoded(telemetry, at=1.0))
    os.utime(old, (1.0, 1.0))
    snapshots = Snapshots(telemetry, folder, every=60, clock=lambda: 100_000.0)

    snapshots.start()
    first = read(folder)
    telemetry.emit_many("filed", 9, source="lab")
    snapshots.stop()
    last = read(folder)

    assert [(one.at, one.has_ended) for one in first] == [(100_000.0, False)]
    assert [one.has_ended for one in last] == [True]
    samples = {s.name: s.value for metric in merged(last, 5.0) for s in metric.samples}
    assert samples["carnet_filed_total"] == 9


def test_a_new_run_begins_without_the_snapshots_of_the_last(tmp_path: Path) -> None:
    telemetry, _ = made("error")
    (tmp_path / "worker-0-1.json").write_bytes(_encoded(telemetry, at=1.0))

    clear(tmp_path)

    assert read(tmp_path) == []


def test_what_a_library_logs_becomes_an_event_without_its_text() -> None:
    telemetry, stream = made()
    with hearing_libraries(telemetry):
        logging.getLogger("somebody.else").warning("patient %s is odd", "CANARI")
        try:
            int("CANARI")
        except ValueError:
            logging.getLogger("another").exception("job of CANARI failed")
        logging.getLogger("somebody.else").info("of no interest")

    first, second = lines(stream)
    assert (first["event"], first["level"], first["library"]) == (
        "library_warned",
        "warning",
        "somebody",
    )
    assert first["at"].startswith("test_telemetry.py:")
    assert (second["library"], second["error"]) == ("another", "ValueError")
    assert "CANARI" not in stream.getvalue()


def test_libraries_are_heard_only_while_a_role_runs() -> None:
    telemetry, stream = made()
    before = list(logging.getLogger().handlers)
    with hearing_libraries(telemetry):
        pass
    assert logging.getLogger().handlers == before
    assert stream.getvalue() == ""
