"""The outbound mappings of a set: which of them writes a document, and what it makes. For `catalogue`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from broker.document import Document
from broker.errors import MappingError
from broker.fhir_elements import Adjustment
from broker.mapping import outbound, outbound_fhir
from broker.mapping.outbound import Outbound, Written
from broker.mapping.outbound_fhir import Adjusting
from broker.mapping.source_document import Content
from broker.mapping.systems import NONE, Systems


@dataclass(frozen=True, slots=True)
class Writers:
    """Mappings that write, ready to run, by name."""

    mappings: Mapping[str, Outbound | Adjusting] = field(default_factory=dict)
    systems: Systems = NONE

    def write(self, document: Document, to: str, content: Content, *, mapping: str = "") -> Written:
        """Turn a document into the segments of a message by the outbound mapping `mapping`, or the one that applies.

        content: the bytes of an attachment, by the SHA-256 the document gives for it
        Raises: MappingError `mapping.none`, `mapping.ambiguous`, `mapping.required`, `mapping.unmapped_code`,
        `mapping.too_many_values`; with the place, no value.
        """
        chosen = self.mappings.get(mapping) if mapping else self._writer(document, to)
        if not isinstance(chosen, Outbound) or chosen.format != to:
            raise MappingError(
                "mapping.none", where=mapping, reason=f"no mapping of this name writes {to}"
            )
        return outbound.write(chosen, document, content, self.systems)

    def adjust(
        self, document: Document, to: str, content: Content, *, mapping: str = ""
    ) -> list[Adjustment]:
        """What a mapping changes of the writer's result: that of `mapping`, or of the one that applies, if any does.

        Raises: MappingError as `write` does.
        """
        if not mapping and not self.writes(document, to):
            return []
        chosen = self.mappings.get(mapping) if mapping else self._writer(document, to)
        if not isinstance(chosen, Adjusting) or chosen.format != to:
            raise MappingError(
                "mapping.none", where=mapping, reason=f"no mapping of this name writes {to}"
            )
        return outbound_fhir.adjustments(chosen, document, content, self.systems)

    def writes(self, document: Document, to: str) -> bool:
        """Whether some outbound mapping is meant for this document."""
        return any(
            outbound.holds(one.applies, document, self.systems)
            for one in self.mappings.values()
            if one.format == to
        )

    def _writer(self, document: Document, to: str) -> Outbound | Adjusting:
        """The mapping that applies; of several, the one that extends the others."""
        chosen = [
            one
            for one in self.mappings.values()
            if one.format == to and outbound.holds(one.applies, document, self.systems)
        ]
        covered = frozenset().union(*(one.ancestors for one in chosen))
        chosen = [one for one in chosen if one.name not in covered]
        if not chosen:
            raise MappingError(
                "mapping.none", where="kind", reason=f"no mapping writes {document.kind} as {to}"
            )
        if len(chosen) > 1:
            raise MappingError(
                "mapping.ambiguous",
                where=", ".join(sorted(one.name for one in chosen)),
                reason="several mappings apply and none extends the others",
            )
        return chosen[0]
