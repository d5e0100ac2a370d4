"""Finds adapters and queues by their entry points; built-ins come in by the same door as strangers.

Looked up by `app` and the command, and passed on. One is loaded when it is first asked for: a site without SFTP does
not load its library.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from broker.contracts import Adapter, Queue, QueueOptions, QueuePlugin
from broker.errors import SetupError
from broker.settings import Settings

ADAPTERS = "carnet.adapters"
QUEUES = "carnet.queues"

_Plugin = TypeVar("_Plugin", Adapter, QueuePlugin)


class Installed(Mapping[str, _Plugin], Generic[_Plugin]):
    """Installed plug-ins by the names of their entry points.

    Raises: SetupError("plugin.twice") when made; ("plugin.broken"), ("plugin.wrong_kind") when that one is asked for.
    """

    def __init__(self, group: str, kind: type[_Plugin]) -> None:
        self._group = group
        self._kind: type[_Plugin] = kind
        self._points = _points(group)
        self._loaded: dict[str, _Plugin] = {}

    def __getitem__(self, name: str) -> _Plugin:
        if name not in self._loaded:
            self._loaded[name] = _load(self._points[name], self._group, self._kind)
        return self._loaded[name]

    def __contains__(self, name: object) -> bool:
        return name in self._points

    def __iter__(self) -> Iterator[str]:
        return iter(self._points)

    def __len__(self) -> int:
        return len(self._points)


def adapters() -> Installed[Adapter]:
    """Every installed adapter."""
    return Installed(ADAPTERS, Adapter)


def queues() -> Installed[QueuePlugin]:
    """Every installed queue."""
    return Installed(QUEUES, QueuePlugin)


def queue_for(url: str, installed: Mapping[str, QueuePlugin]) -> QueuePlugin:
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


def _points(group: str) -> dict[str, EntryPoint]:
    """The entry points of a group by name, sorted."""
    found: dict[str, EntryPoint] = {}
    for point in sorted(entry_points(group=group), key=lambda point: point.name):
        if point.name in found:
            raise SetupError(
                "plugin.twice",
                where=f"{group}: {point.name}",
                reason="two installed packages register this name",
                hint=f"uninstall one of them ({_package(point)} is one)",
            )
        found[point.name] = point
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
