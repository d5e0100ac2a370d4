"""A consumer in a process of its own, for tests that kill it: takes a lease, says which ids, then waits for ever.

Arguments: entry (module:NAME), url, prefix, topic, limit.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import timedelta
from importlib import import_module

from broker.contracts import QueuePlugin
from tests.queues.place import OPTIONS


def main() -> None:
    entry, url, prefix, topic, limit = sys.argv[1:]
    module, _, name = entry.partition(":")
    plugin: QueuePlugin = getattr(import_module(module), name)
    queue = plugin.open(url, replace(OPTIONS, prefix=prefix))
    lease = queue.take(topic, int(limit), timedelta(seconds=30))
    print(" ".join(str(work.id) for work in lease.work) if lease else "", flush=True)
    sys.stdin.read()


main()
