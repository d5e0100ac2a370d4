"""What every role's process is forked from: all modules loaded, none of it ever walked by a collector again."""

from __future__ import annotations

from broker import memory

memory.starting()

from broker import role_process as role_process  # noqa: E402, PLC0414 - behind the line above

memory.settled()
