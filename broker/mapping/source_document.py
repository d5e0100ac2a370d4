"""The document as a source of the engine, for mappings that write: its paths, and shapes into HL7v2 data types."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from broker.document import Document
from broker.mapping.outbound_shapes import ElementType, FieldType, element_shape, shape_of
from broker.mapping.paths import Path, Shape
from broker.mapping.paths_document import CLEARED, Chain, Scope, compile_path

Content = Callable[[str], bytes]
"""The bytes of an attachment by the SHA-256 the document gives for it."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A document about to be written: what its mapping reads, and the HL7 version it is written in."""

    document: Document = field(repr=False)
    content: Content
    version: tuple[int, ...] = (2, 5)

    @property
    def cleared(self) -> tuple[str, ...]:
        """The paths the source emptied."""
        return self.document.cleared


class DocumentSource:
    """Paths and shapes over a document."""

    root: Chain = (Document,)
    present = None

    def is_null(self, raw: Any) -> bool:
        """Whether the source emptied the field."""
        return raw is CLEARED

    def is_nothing(self, _raw: Any) -> bool:
        """A value of the model always says something."""
        return False

    def start(self, _run: Any, message: Outgoing) -> Scope:
        """The document as the outermost scope."""
        return Scope(message.document)

    def path(self, text: str, chain: Chain) -> Path:
        """Compile a path of the model. Raises PathError."""
        return compile_path(text, chain)

    def shape(self, path: Path, wanted: Any, _forced: str) -> Shape | None:
        """By the model type read and the data type of the field."""
        kind, name = path.detail
        if isinstance(wanted, ElementType):
            return element_shape(wanted, kind)
        if not isinstance(wanted, FieldType):
            return None
        return shape_of(wanted, kind, name)
