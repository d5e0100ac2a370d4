"""A histogram that takes the values of a whole batch at once, for `telemetry`.

prometheus_client's own takes them one by one, under two locks each, which cost the intake more than its look at a
message's header.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from threading import Lock

from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString


class Values:
    """The values of one label set. Thread-safe."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0
        self._lock = Lock()

    def observe_many(self, values: Iterable[float]) -> None:
        """Add values, each to the lowest bound that is not below it."""
        bounds, counts = self._bounds, self._counts
        with self._lock:
            for value in values:
                counts[bisect_left(bounds, value)] += 1
                self._sum += value

    def taken(self) -> tuple[list[int], float]:
        """How many are at or below each bound, all of them last; and their sum."""
        with self._lock:
            return list(accumulate(self._counts)), self._sum


class Histogram(Collector):
    """One metric with its label sets, as a registry collects it."""

    def __init__(
        self, name: str, meaning: str, label_names: Sequence[str], buckets: Sequence[float]
    ) -> None:
        self._name = name
        self._meaning = meaning
        self._label_names = tuple(label_names)
        self._bounds = tuple(buckets)
        self._values: dict[tuple[str, ...], Values] = {}

    def labels(self, **labels: str) -> Values:
        """The values of one label set, made when they are first asked for."""
        key = tuple(labels[name] for name in self._label_names)
        return self._values.setdefault(key, Values(self._bounds))

    def describe(self) -> Iterator[HistogramMetricFamily]:
        """The metric without values: a registry asks for its name before it takes it."""
        yield HistogramMetricFamily(self._name, self._meaning, labels=self._label_names)

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """The metric as Prometheus reads it (text format 0.0.4, "Histograms and summaries")."""
        family = HistogramMetricFamily(self._name, self._meaning, labels=self._label_names)
        texts = [*map(floatToGoString, self._bounds), "+Inf"]
        for key, values in list(self._values.items()):
            counts, total = values.taken()
            family.add_metric(key, list(zip(texts, map(float, counts), strict=True)), total)
        yield family
