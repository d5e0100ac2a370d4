"""Strangers' adapters come in by the same door as ours; what is broken is named."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from broker import plugins
from broker.contracts import QueueOptions, QueuePlugin
from broker.errors import SetupError

MODULE = """
from broker.contracts import Adapter
ADAPTER = Adapter("pigeon", "carries messages slowly")
NOT_ONE = object()
"""


def install(folder: Path, name: str, points: str) -> None:
    (folder / f"{name}.py").write_text(MODULE)
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[carnet.adapters]\n{points}\n")


def test_an_installed_strangers_adapter_is_found_beside_the_built_in_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "pigeon_post", "pigeon = pigeon_post:ADAPTER")
    monkeypatch.syspath_prepend(tmp_path)

    found = plugins.adapters()

    assert {"pigeon", "mllp", "http", "file_drop"} <= set(found)
    assert found["pigeon"].summary == "carries messages slowly"


@pytest.mark.parametrize(
    ("points", "code"),
    [
        ("pigeon = pigeon_{}:ABSENT", "plugin.broken"),
        ("pigeon = no_such_module_{}:ADAPTER", "plugin.broken"),
        ("pigeon = pigeon_{}:NOT_ONE", "plugin.wrong_kind"),
        ("mllp = pigeon_{}:ADAPTER", "plugin.twice"),
    ],
)
def test_a_broken_entry_point_is_named_with_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, points: str, code: str
) -> None:
    name = "broken"
    install(tmp_path, f"pigeon_{name}", points.format(name))
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(SetupError) as caught:
        plugins.adapters()["pigeon"]

    assert caught.value.code == code
    assert caught.value.where == f"carnet.adapters: {points.partition(' ')[0]}"
    assert "pigeon" in caught.value.hint or "carnet" in caught.value.hint


def test_what_is_not_asked_for_is_not_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "pigeon_unused", "pigeon = pigeon_unused:ABSENT")
    monkeypatch.syspath_prepend(tmp_path)

    found = plugins.adapters()

    assert "pigeon" in found
    assert found["mllp"].name == "mllp"
    assert "pigeon_unused" not in sys.modules


def _open(url: str, options: QueueOptions) -> object:
    raise AssertionError("not opened here")


def test_a_queue_is_chosen_by_the_scheme_of_its_url() -> None:
    installed = {"rabbit": QueuePlugin("rabbit", "", ("amqp", "amqps"), _open)}  # type: ignore[arg-type]

    assert plugins.queue_for("amqps://host/", installed).name == "rabbit"
    with pytest.raises(SetupError, match="known: amqp, amqps"):
        plugins.queue_for("kafka://host/", installed)
