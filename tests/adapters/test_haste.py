"""Who is in a hurry: a sender who sends one after the other as soon as each is answered."""

from __future__ import annotations

from adapters.haste import Haste, Hastes


def _exchanges(haste: Haste, thinking: float, messages: int = 12, at: float = 0.0) -> list[bool]:
    """Whether each of the messages was in a hurry; each is answered after 5 ms."""
    said = []
    for _ in range(messages):
        said.append(haste.comes(at))
        haste.answered(at + 0.005)
        at += 0.005 + thinking
    return said


def test_a_sender_with_a_backlog_is_in_a_hurry_after_a_few() -> None:
    said = _exchanges(Haste(), thinking=0.003)

    assert said == [False] * 8 + [True] * 4


def test_a_sender_whose_messages_come_as_they_happen_is_not() -> None:
    assert not any(_exchanges(Haste(), thinking=0.06))


def test_one_pause_ends_the_hurry() -> None:
    haste = Haste()
    _exchanges(haste, thinking=0.0)

    assert haste.comes(30.0) is False


def test_a_sender_who_does_not_wait_for_answers_is_in_a_hurry() -> None:
    haste = Haste()

    said = [haste.comes(n * 0.05, before_answer=n > 0) for n in range(10)]

    assert said == [False] * 8 + [True] * 2


def test_each_sender_is_judged_alone_and_none_is_remembered_for_ever() -> None:
    hastes = Hastes()
    _exchanges(hastes.of("192.0.2.1"), thinking=0.0)

    assert hastes.of("192.0.2.1").comes(12 * 0.005) is True
    assert hastes.of("192.0.2.2").comes(12 * 0.005) is False
    for n in range(10_001):
        hastes.of(f"198.51.100.{n}")
    assert hastes.of("192.0.2.1").comes(0.1) is False
