"""What became of messages, in words: their fates, and the line of a day's balance."""

from __future__ import annotations

from broker.records.messages_reading import Balance

WORDS = {
    "filed": "filed",
    "delivered_only": "delivered only",
    "filtered": "filtered",
    "held": "held",
    "parked": "parked",
    "skipped": "skipped",
    "discarded": "discarded",
    "answer_matched": "answers matched",
    "in_flight": "in flight",
    "waiting": "waiting",
    "retrying": "retrying",
}


def balance_line(balance: Balance) -> str:
    """`received 12 = filed 10 + filtered 1 + held 1 ✓ · duplicates 1 · refused at the door 1`."""
    fates = " + ".join(f"{WORDS.get(fate, fate)} {n}" for fate, n in balance.fates.items()) or "0"
    mark = "[green]✓[/]" if balance.closes else "[bold red]✗[/]"
    beside = balance.beside
    return (
        f"received {balance.received} = {fates} {mark} · duplicates {beside.get('duplicate_answered', 0)} "
        f"· refused at the door {beside.get('refused_at_door', 0)}"
    )
