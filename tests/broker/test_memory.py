"""What was loaded at a start is not walked by the collector; what is exchanged later is let go of."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref

from broker import memory


class Ring:
    """Refers to itself: only the collector finds it."""

    def __init__(self) -> None:
        self.me = self


def test_what_comes_later_is_collected_and_what_was_there_once_it_is_renewed() -> None:
    old = Ring()
    of_old = weakref.ref(old)
    memory.settled()
    new = Ring()
    of_new = weakref.ref(new)
    del old, new

    gc.collect()
    assert of_new() is None
    assert of_old() is not None, "what was there is not walked any more"

    memory.renewed()
    assert of_old() is None
    assert gc.isenabled()


def test_a_start_that_migrates_nothing_does_not_wait_for_alembic() -> None:
    told = subprocess.run(
        [sys.executable, "-c", "import sys, broker.app; print('alembic' in sys.modules)"],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    assert told.stdout.strip() == "False"
