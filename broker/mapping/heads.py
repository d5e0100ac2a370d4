"""What a scope must have for a rule to give anything: so that the many rules of a sparse scope cost next to nothing.

A rule whose every path starts at a child the element does not have gives nothing there, and leaves no trace. A rule
with a default, a requirement or a constant always has something to say and is never passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from collections.abc import Sequence as Sequence_
from typing import Any

import msgspec

from broker.mapping.closures import is_rule
from broker.mapping.paths import PathError, SourceFormat
from broker.mapping.strict_yaml import Block, Item, Sequence, Text
from broker.mapping.targets import targets_of

_KINDS_OF_SCOPE = 256
"""So many different sets of heads are remembered for a block; real documents have a dozen."""

Rules = Sequence_[tuple[str, Any]]
"""(target attribute, rule) pairs of a block."""
Needs = frozenset[str] | None
"""Heads of which a scope must have one; None when the rule must be tried in any case."""


class Heads:
    """Finds the heads of rules read from one place of a mapping."""

    def __init__(self, source: SourceFormat, chain: Any) -> None:
        self._source = source
        self._chain = chain

    def of_block(self, fields: Block, struct: type[msgspec.Struct]) -> dict[str, frozenset[str]]:
        """The heads of each target attribute that has them; empty for a source without heads."""
        if self._source.present is None:
            return {}
        targets = targets_of(struct)
        found = {name: self._of(item) for name, item in fields.items.items() if name in targets}
        return {
            targets[name].attribute: needs for name, needs in found.items() if needs is not None
        }

    def _of(self, item: Item) -> Needs:
        if isinstance(item, Text):
            return self._of_path(item)
        if isinstance(item, Sequence):
            return self._union([self._of(inner) for inner in item.items])
        if not is_rule(item):
            return self._of_fields(item)
        if "default" in item.items or "required" in item.items:
            return None
        for keyword in ("each", "from", "first_of", "choose"):
            source = item.items.get(keyword)
            if source is not None:
                return self._of(source)
        fields = item.items.get("fields")
        return self._of_fields(fields) if isinstance(fields, Block) else None

    def _of_fields(self, fields: Block) -> Needs:
        """A block without `each` gives nothing when its constants are all there is, so they need nothing."""
        items = [
            inner
            for inner in fields.items.values()
            if not (isinstance(inner, Text) and inner.value.startswith("= "))
        ]
        return self._union([self._of(inner) for inner in items])

    def _of_path(self, text: Text) -> Needs:
        if text.value.startswith("= "):
            return None
        try:
            head = self._source.path(text.value, self._chain).head
        except PathError:
            return None
        return frozenset({head}) if head else None

    @staticmethod
    def _union(found: list[Needs]) -> Needs:
        out: frozenset[str] = frozenset()
        for needs in found:
            if needs is None:
                return None
            out |= needs
        return out


def worth_trying(
    pairs: Rules,
    heads: Mapping[str, frozenset[str]],
    present: Callable[[Any, Any], Collection[str]] | None,
) -> Callable[[Any, Any], Rules]:
    """(run, scope) -> the rules of a block that may give something there, in their order.

    Scopes that have the same heads (the results of a battery) share one answer.
    """
    if present is None or not heads:
        return lambda _run, _scope: pairs
    known: dict[tuple[str, ...], Rules] = {}

    def chosen(run: Any, scope: Any) -> Rules:
        has = tuple(present(run, scope))
        found = known.get(has)
        if found is None:
            found = [
                pair
                for pair in pairs
                if (needs := heads.get(pair[0])) is None or not needs.isdisjoint(has)
            ]
            if len(known) < _KINDS_OF_SCOPE:
                known[has] = found
        return found

    return chosen
