"""The picture of a soak: rate, latency, what waits, memory and processor over time, in one PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

Sample = dict[str, Any]


def draw(samples: Sequence[Sample], path: Path) -> None:
    """Write the PNG. Raises ImportError where matplotlib is not installed (`pip install carnet[bench]`)."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    minutes = [one["at"] / 60 for one in samples]
    figure, axes = plt.subplots(5, 1, figsize=(12, 15), sharex=True)

    def line(axis: Any, name: str, label: str, **look: Any) -> None:
        axis.plot(minutes, [one[name] for one in samples], label=label, linewidth=1, **look)

    rate, latency, waiting, memory, processor = axes
    line(rate, "answered_per_second", "answered")
    line(rate, "filed_per_second", "filed", alpha=0.7)
    line(rate, "delivered_per_second", "delivered", alpha=0.7)
    rate.set_ylabel("messages a second")
    line(latency, "p50_ms", "median")
    line(latency, "p99_ms", "99th percentile")
    latency.set_ylabel("answer, ms")
    latency.set_yscale("log")
    line(waiting, "unfiled", "not filed yet")
    line(waiting, "undelivered", "not delivered yet")
    waiting.set_ylabel("messages that wait")
    waiting.set_yscale("symlog")
    for role in sorted({role for one in samples for role in one["rss_mib"]}):
        memory.plot(minutes, [one["rss_mib"].get(role) for one in samples], label=role, linewidth=1)
    memory.set_ylabel("resident MiB")
    line(processor, "carnet_share", "Carnet, database, message broker")
    line(processor, "machine_share", "whole machine, load and partners included")
    processor.set_ylabel("share of the processors")
    processor.set_ylim(0, 1.05)
    processor.set_xlabel("minutes")
    for axis in axes:
        _shade(axis, minutes, [not one["partner"] for one in samples])
        axis.grid(alpha=0.3)
        axis.set_ylim(bottom=0) if axis in (rate, memory) else None
        axis.legend(loc="upper right", fontsize=8)
    figure.suptitle("A steady load; grey: a partner is away")
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    plt.close(figure)


def _shade(axis: Any, minutes: Sequence[float], away: Sequence[bool]) -> None:
    begun: float | None = None
    for minute, is_away in zip([*minutes, minutes[-1]], [*away, False], strict=True):
        if is_away and begun is None:
            begun = minute
        if not is_away and begun is not None:
            axis.axvspan(begun, minute, color="grey", alpha=0.2)
            begun = None
