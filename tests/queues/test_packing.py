from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.contracts import Work
from broker.errors import PermanentError
from broker.values import Lane
from queues.packing import MAX_WORK, pack, unpack

works = st.lists(
    st.builds(
        Work,
        id=st.integers(1, 2**63 - 1),
        lane=st.integers(-(2**63), 2**63 - 1).map(Lane),
    ),
    min_size=1,
    max_size=40,
)


@given(works)
def test_work_survives_packing(work: list[Work]) -> None:
    assert unpack(pack(work)) == work


@given(works, st.data())
def test_a_changed_byte_is_never_read_as_work(work: list[Work], data: st.DataObject) -> None:
    body = bytearray(pack(work))
    place = data.draw(st.integers(0, len(body) - 1))
    body[place] ^= data.draw(st.integers(1, 255))

    with pytest.raises(PermanentError, match=r"queue\.garbled"):
        unpack(bytes(body))


@given(works, st.data())
def test_a_cut_body_is_never_read_as_work(work: list[Work], data: st.DataObject) -> None:
    body = pack(work)

    with pytest.raises(PermanentError, match=r"queue\.garbled"):
        unpack(body[: data.draw(st.integers(0, len(body) - 1))])


@given(st.binary(max_size=200))
def test_other_bytes_are_refused_and_never_crash(body: bytes) -> None:
    with pytest.raises(PermanentError, match=r"queue\.garbled"):
        unpack(body)


def test_an_id_that_the_ledger_never_gives_is_refused() -> None:
    with pytest.raises(PermanentError, match="not positive"):
        unpack(pack([Work(0, Lane(1))]))


def test_a_full_message_costs_about_eight_kilobytes() -> None:
    assert len(pack([Work(number, Lane(number)) for number in range(1, MAX_WORK + 1)])) < 8100


def test_more_than_a_message_holds_is_the_callers_mistake() -> None:
    with pytest.raises(ValueError, match="501"):
        pack([Work(number, Lane(0)) for number in range(1, MAX_WORK + 2)])
