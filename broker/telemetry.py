"""Makes a log line and a counter of each event, and holds timings and levels: for every role, by name.

What may be said is closed: events come from `broker.events`, fields and values are checked against patterns that fit
ids, codes and places but no name, sentence or long number. What does not fit raises under test (`strict`) and is
dropped and counted in production, since a log line must never stop a message. Label sets are bounded.

Cost: an event below the log level is one dictionary look-up and one addition; `emit_many` pays once per batch.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol, TextIO

import msgspec
import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from broker.events import EVENTS, Event
from broker.histogram import Histogram

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
MOST_LABEL_SETS = 500

Value = str | int | float | bool

_TOKEN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:+-]{0,79}")
_PLACE = re.compile(
    r"(?:[A-Za-z0-9_.:/@\[\]()$*#?'=-]|: |(?<![a-z])(?:line|column|byte|entry|part|row) (?=\d)){1,200}"
)
_PEER = re.compile(r"[0-9a-fA-F.:\[\]]{1,60}")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_LONG_NUMBER = re.compile(r"\d{9}")

FIELDS: Mapping[str, re.Pattern[str] | None] = {
    "message_id": _UUID,
    "parent": _UUID,
    "source": _TOKEN,
    "destination": _TOKEN,
    "role": _TOKEN,
    "stage": _TOKEN,
    "code": _TOKEN,
    "reason": _TOKEN,
    "where": _PLACE,
    "set": _TOKEN,
    "peer": _PEER,
    "error": _TOKEN,
    "at": _PLACE,
    "count": None,
    "attempt": None,
    "seq": None,
    "seconds": None,
    "junk_bytes": None,
    "broken_frames": None,
}
"""Fields any event may carry beside its own labels. None: a number."""

_LARGEST = 10**12


class Measure(msgspec.Struct, frozen=True):
    """A timing, size or level: what it means, its bounded labels, and how several processes add up."""

    kind: Literal["histogram", "gauge"]
    meaning: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    merge: Literal["sum", "max"] = "sum"


_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 300.0)
_SIZES = (1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0)

MEASURES: Mapping[str, Measure] = {
    "answer_seconds": Measure(
        "histogram", "from the last byte read to the answer", ("source",), _SECONDS
    ),
    "filing_seconds": Measure("histogram", "from reception to the record", ("source",), _SECONDS),
    "delivery_seconds": Measure("histogram", "one attempt of delivery", ("destination",), _SECONDS),
    "commit_seconds": Measure("histogram", "one transaction of a batch", ("stage",), _SECONDS),
    "batch_messages": Measure("histogram", "messages in one batch", ("stage",), _SIZES),
    "in_flight": Measure("gauge", "messages received and not settled", (), (), "max"),
    "queue_depth": Measure("gauge", "claim checks waiting in the queue", ("topic",), (), "max"),
    "oldest_unsettled_seconds": Measure(
        "gauge", "age of the oldest unsettled message", (), (), "max"
    ),
    "lanes_blocked": Measure("gauge", "lanes that wait", (), (), "max"),
}


class _RefusedError(Exception):
    """A value may not be said; `why` is the label it is counted under."""

    def __init__(self, why: str, name: str) -> None:
        super().__init__(f"{why}: {name}")
        self.why = why


class TelemetryError(ValueError):
    """Under test only: code tried to say what may not be said. Names the field, never the value."""


class Emitter(Protocol):
    """What code needs of telemetry to say that something happened."""

    def emit(self, name: str, /, **fields: Value) -> None: ...
    def emit_many(self, name: str, n: int, /, **fields: Value) -> None: ...


class Telemetry:
    """Logs and metrics of one process. Thread-safe. Never raises unless `strict`."""

    def __init__(
        self,
        role: str,
        *,
        writer: str = "",
        level: str = "info",
        stream: TextIO | None = None,
        strict: bool = False,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        self.role = role
        self.writer = writer
        self.registry = CollectorRegistry()
        self.strict = strict
        self._clock = clock or _utc_now
        self._threshold = LEVELS[level]
        self._logger = self._make_logger(stream or sys.stderr)
        self._families: dict[str, Counter | Histogram | Gauge] = {}
        self._children: dict[tuple[str, ...], Any] = {}
        self._sets: dict[str, int] = {}
        self._components: dict[str, bool] = {}
        self._dropped = Counter(
            "carnet_telemetry_dropped",
            "what telemetry refused to say",
            ("role", "why"),
            registry=self.registry,
        )

    def emit(self, name: str, /, **fields: Value) -> None:
        """Say that `name` happened once."""
        self.emit_many(name, 1, **fields)

    def emit_many(self, name: str, n: int, /, **fields: Value) -> None:
        """Say that `name` happened `n` times alike: one addition and at most one log line, with its `count`."""
        event = EVENTS.get(name)
        if event is None:
            self._drop("unknown_event", name)
            return
        if n <= 0:
            return
        labels = tuple(str(fields.get(label, "")) for label in event.labels)
        child = self._children.get((name, *labels))
        if child is None:
            child = self._counter(event, labels)
        child.inc(n)
        if LEVELS[event.level] >= self._threshold:
            self._log(event, fields if n == 1 else {**fields, "count": n})

    def observe(self, name: str, value: float, /, **labels: str) -> None:
        """Add one value to a histogram of MEASURES."""
        self.observe_many(name, (value,), **labels)

    def observe_many(self, name: str, values: Iterable[float], /, **labels: str) -> None:
        """Add the values of a batch to a histogram of MEASURES."""
        child = self._measure(name, labels)
        if child is not None:
            child.observe_many(values)

    def level(self, name: str, value: float, /, **labels: str) -> None:
        """Set a gauge of MEASURES."""
        child = self._measure(name, labels)
        if child is not None:
            child.set(value)

    def ready(self, component: str, is_ready: bool) -> None:
        """Say whether a part of this process (a source, the database) can do its work now."""
        self._components[component] = is_ready

    @property
    def components(self) -> dict[str, bool]:
        """What `ready` was told, by component."""
        return dict(self._components)

    @property
    def is_ready(self) -> bool:
        """True when every component told of is ready, and at least one was told of."""
        return bool(self._components) and all(self._components.values())

    def bound(self, **fields: Value) -> Bound:
        """An emitter that adds `fields` to each event, as `message_id`, `source` and `stage` of one message."""
        return Bound(self, fields)

    def notice(self, name: str, fields: dict[str, Any]) -> None:
        """`broker.contracts.Notice`: how an adapter says that something happened."""
        self.emit(name, **fields)

    def _counter(self, event: Event, labels: tuple[str, ...]) -> Any:
        family = self._families.get(event.name)
        if family is None:
            family = self._families[event.name] = Counter(
                f"carnet_{event.name}",
                event.meaning,
                tuple(dict.fromkeys(("role", *event.labels))),
                registry=self.registry,
            )
        return self._child(event.name, family, dict(zip(event.labels, labels, strict=True)))

    def _measure(self, name: str, labels: Mapping[str, str]) -> Any:
        measure = MEASURES.get(name)
        if measure is None or set(labels) - set(measure.labels) - {"role"}:
            self._drop("unknown_measure" if measure is None else "unknown_label", name)
            return None
        values = {label: labels.get(label, "") for label in measure.labels}
        child = self._children.get((name, *values.values()))
        if child is not None:
            return child
        family = self._families.get(name)
        if family is None:
            names = tuple(dict.fromkeys(("role", *measure.labels)))
            if measure.kind == "histogram":
                family = Histogram(
                    f"carnet_{name}",
                    measure.meaning,
                    names,
                    measure.buckets,
                )
                self.registry.register(family)
            else:
                family = Gauge(f"carnet_{name}", measure.meaning, names, registry=self.registry)
            self._families[name] = family
        return self._child(name, family, values)

    def _child(self, name: str, family: Counter | Histogram | Gauge, labels: dict[str, str]) -> Any:
        """The counter of one label set; the set beyond the bound, or with a value that may not be said, is "other"."""
        asked = (name, *labels.values())
        clean = {"role": self.role}
        for label, value in labels.items():
            try:
                clean[label] = str(_said(label, value)) if value else clean.get(label, "")
            except _RefusedError as refused:
                self._drop(refused.why, label)
                clean[label] = "other"
        is_new = (name, *clean.values()) not in self._children
        if is_new and self._sets.get(name, 0) >= MOST_LABEL_SETS:
            self._drop("too_many_labels", name)
            return family.labels(**{**dict.fromkeys(clean, "other"), "role": self.role})
        child = family.labels(**clean)
        if is_new:
            self._sets[name] = self._sets.get(name, 0) + 1
            self._children[(name, *clean.values())] = child
        if "other" not in clean.values():
            self._children[asked] = child
        return child

    def _log(self, event: Event, fields: Mapping[str, Value]) -> None:
        said: dict[str, Value] = {}
        for name, value in fields.items():
            if value == "":
                continue
            if name not in FIELDS and name not in event.labels:
                self._drop("unknown_field", name)
                continue
            try:
                said[name] = _said(name, value)
            except _RefusedError as refused:
                self._drop(refused.why, name)
        try:
            getattr(self._logger, event.level)(event.name, **said)
        except OSError:  # a full disk; whoever said it has to go on
            self._dropped.labels(role=self.role, why="log_unwritable").inc()

    def _drop(self, why: str, name: str) -> None:
        if self.strict:
            raise TelemetryError(f"{why}: {name}")
        self._dropped.labels(role=self.role, why=why).inc()

    def _make_logger(self, stream: TextIO) -> Any:
        def stamp(_logger: Any, level: str, entry: Any) -> Any:
            constants = {
                "at_time": self._clock().isoformat(timespec="milliseconds"),
                "level": level,
            }
            who = {"role": self.role, "writer": self.writer} if self.writer else {"role": self.role}
            return {**constants, "event": entry.pop("event"), **who, **entry}

        return structlog.wrap_logger(
            structlog.WriteLogger(stream),
            processors=[stamp, structlog.processors.JSONRenderer(serializer=_json)],
            wrapper_class=structlog.make_filtering_bound_logger(self._threshold),
            context_class=dict,
        )


class Bound:
    """An emitter with some fields given once."""

    def __init__(self, telemetry: Telemetry, fields: Mapping[str, Value]) -> None:
        self._telemetry = telemetry
        self._fields = dict(fields)

    def emit(self, name: str, /, **fields: Value) -> None:
        """Say that `name` happened once, with the bound fields."""
        self._telemetry.emit(name, **{**self._fields, **fields})

    def emit_many(self, name: str, n: int, /, **fields: Value) -> None:
        """Say that `name` happened `n` times alike, with the bound fields."""
        self._telemetry.emit_many(name, n, **{**self._fields, **fields})


class Libraries(logging.Handler):
    """Makes events of what libraries log: whose word it was and where, never its text, which may hold a value.

    Without it Python would write their warnings beside our lines, as they are.
    """

    def __init__(self, emitter: Emitter) -> None:
        super().__init__(logging.WARNING)
        self._emitter = emitter

    def emit(self, record: logging.LogRecord) -> None:
        """One event a record."""
        more = (
            {"error": record.exc_info[0].__name__} if record.exc_info and record.exc_info[0] else {}
        )
        library = record.name.partition(".")[0]
        self._emitter.emit(
            "library_warned", library=library, at=f"{record.filename}:{record.lineno}", **more
        )


@contextmanager
def hearing_libraries(emitter: Emitter) -> Iterator[None]:
    """What libraries log in this process meanwhile becomes events."""
    handler = Libraries(emitter)
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)


def place_of(error: BaseException) -> str:
    """File and line where `error` was raised, for the field `at`; its text is never logged, it may hold a value."""
    trace: TracebackType | None = error.__traceback__
    if trace is None:
        return "?"
    while trace.tb_next is not None:
        trace = trace.tb_next
    path = Path(trace.tb_frame.f_code.co_filename)
    return f"{path.parent.name}/{path.name}:{trace.tb_lineno}"


def _said(name: str, value: object) -> Value:
    """`value` if it may be said in field `name`."""
    if isinstance(value, bool | int | float):
        if abs(value) >= _LARGEST and name != "seq":
            raise _RefusedError("value", name)
        return value
    pattern = FIELDS.get(name, _TOKEN)
    if not isinstance(value, str) or pattern is None or not pattern.fullmatch(value):
        raise _RefusedError("value", name)
    if pattern is not _UUID and _LONG_NUMBER.search(value):
        raise _RefusedError("value", name)
    return value


def _json(entry: Mapping[str, Any], **_: Any) -> str:
    return msgspec.json.encode(entry).decode()


def _utc_now() -> datetime:
    return datetime.now(UTC)
