"""What was loaded at a start is not walked by the collector, and no set is there longer than it is used."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from pathlib import Path

from broker import memory
from broker.mapping import catalogue

PROJECT = Path(__file__).resolve().parents[2]


class Ring:
    """Refers to itself: only the collector finds it."""

    def __init__(self) -> None:
        self.me = self


def test_what_comes_later_is_collected_and_what_was_there_is_not_walked() -> None:
    old = Ring()
    of_old = weakref.ref(old)
    memory.settled()
    new = Ring()
    of_new = weakref.ref(new)
    del old, new

    gc.collect()
    assert of_new() is None
    assert of_old() is not None
    assert gc.isenabled()


_ONE_SET = """
import gc
from pathlib import Path
from broker.mapping import catalogue
gc.collect()
gc.freeze()
before = gc.get_freeze_count()
loaded = catalogue.load([Path("mappings")])
of_set = gc.get_freeze_count() - before
print(len(gc.get_objects()) < of_set / 100)
del loaded
print(gc.get_freeze_count() - before < of_set / 10)
"""


def test_a_mapping_set_is_set_aside_and_goes_when_nobody_uses_it() -> None:
    told = subprocess.run(
        [sys.executable, "-c", _ONE_SET],
        capture_output=True, text=True, check=True, timeout=120, cwd=PROJECT,
    )  # fmt: skip
    assert told.stdout.split() == ["True", "True"], "nobody walks it; it has no cycle"


def test_what_is_garbage_when_a_set_is_loaded_is_not_kept_with_it(tmp_path: Path) -> None:
    dropped = Ring()
    of_dropped = weakref.ref(dropped)
    del dropped

    with memory.in_hand():  # as a worker does that meets a new set within a batch
        catalogue.examine(tmp_path)

    gc.collect()
    assert of_dropped() is None


def test_a_start_that_migrates_nothing_does_not_wait_for_alembic() -> None:
    told = subprocess.run(
        [sys.executable, "-c", "import sys, broker.app; print('alembic' in sys.modules)"],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    assert told.stdout.strip() == "False"


_HOLES = """
from pathlib import Path
from broker.memory import Spare

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

spare = Spare(0.0)
kept, letters = [], []
for n in range(800):
    letters.append(bytearray(100_000))
    kept.append(bytearray(2_000))
full = resident()
del letters
holes = resident()
print(full - holes < 20_000_000)
print(spare.give_back(9.0), resident() == holes)
print(spare.give_back(10.0), full - resident() > 60_000_000)
print(spare.give_back(11.0))
"""


def test_what_is_free_between_things_in_use_goes_back_every_ten_seconds() -> None:
    told = subprocess.run(
        [sys.executable, "-c", _HOLES],
        capture_output=True, text=True, check=True, timeout=120, cwd=PROJECT,
    )  # fmt: skip
    assert told.stdout.split() == ["True", "False", "True", "True", "True", "False"]
