"""Finds adapters and queues by their entry points; built-ins come in by the same door as strangers.

Read once at start by `app` and the command, and passed on: nothing here is remembered.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import TypeVar

from broker.contracts import Adapter, Queue, QueueOptions, QueuePlugin
from broker.errors import SetupError
from broker.settings import Settings

ADAPTERS = "carnet.adapters"
QUEUES = "carnet.queues"

_Plugin = TypeVar("_Plugin", Adapter, QueuePlugin)


def adapters() -> dict[str, Adapter]:
    """Every installed adapter by the name of its entry point. Raises SetupError naming the one that failed."""
    return _found(ADAPTERS, Adapter)


def queues() -> dict[str, QueuePlugin]:
    """Every installed queue by the name of its entry point. Raises SetupError naming the one that failed."""
    return _found(QUEUES, QueuePlugin)


def queue_for(url: str, installed: dict[str, QueuePlugin]) -> QueuePlugin:
    """The queue that speaks the scheme of `url` (`embedded`, `amqp`, `amqps`). Raises SetupError when none does."""
    scheme = url.partition(":")[0]
    for plugin in installed.values():
        if scheme in plugin.schemes:
            return plugin
    known = ", ".join(sorted(s for plugin in installed.values() for s in plugin.schemes))
    raise SetupError(
        "queue.unknown",
        where="queue.url",
        reason=f"no installed queue speaks this scheme (known: {known})",
    )


def open_queue(settings: Settings, *, consumer: int = 0, consumers: int = 1) -> Queue:
    """A connection of one thread to the configured queue."""
    url = settings.queue.url
    if url == "embedded":
        url = f"embedded+{settings.database.url}"
    plugin = queue_for(url, queues())
    options = QueueOptions(
        prefix=settings.queue.prefix,
        partitions=settings.queue.partitions,
        consumer=consumer,
        consumers=consumers,
    )
    return plugin.open(url, options)


def _found(group: str, kind: type[_Plugin]) -> dict[str, _Plugin]:
    found: dict[str, _Plugin] = {}
    for point in sorted(entry_points(group=group), key=lambda point: point.name):
        if point.name in found:
            raise SetupError(
                "plugin.twice",
                where=f"{group}: {point.name}",
                reason="two installed packages register this name",
                hint=f"uninstall one of them ({_package(point)} is one)",
            )
        found[point.name] = _load(point, group, kind)
    return found


def _load(point: EntryPoint, group: str, kind: type[_Plugin]) -> _Plugin:
    where = f"{group}: {point.name}"
    try:
        plugin = point.load()
    except Exception as error:
        raise SetupError(
            "plugin.broken",
            where=where,
            reason=f"{point.value} cannot be loaded ({type(error).__name__})",
            hint=f"repair or uninstall {_package(point)}",
        ) from error
    if not isinstance(plugin, kind):
        raise SetupError(
            "plugin.wrong_kind",
            where=where,
            reason=f"{point.value} is not a broker.contracts.{kind.__name__}",
            hint=f"repair or uninstall {_package(point)}",
        )
    return plugin


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value.partition(":")[0]
