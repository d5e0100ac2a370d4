"""A mapping set from a text and a message from its segments, for tests of the engine."""

from __future__ import annotations

from pathlib import Path

from broker.document import Document
from broker.mapping.catalogue import MappingSet, load
from broker.mapping.run import Context, Mapped, ids_from
from broker.parsing import hl7v2

HEAD = "mapping: test\nversion: 1.0.0\nlanguage: 1\nfrom: hl7v2\napplies_when: MSH-9 is present\n"
MSH = r"MSH|^~\&|A|B|C|D|20240309073500||ADT^A08|1|P|2.5"
CONTEXT = Context(document_id=ids_from("0192f0c1-7c1a-7000-8000-000000000001"))


def mapping_set(folder: Path, rules: str, **files: str) -> MappingSet:
    """A set of one mapping (and other files by name, `__` for `/` and `_csv`, `_yaml` for the suffix)."""
    (folder / "test.yaml").write_text(HEAD + rules, encoding="utf-8")
    for name, text in files.items():
        stem, _, suffix = name.replace("__", "/").rpartition("_")
        path = folder / f"{stem}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return load(folder)


def mapped(
    folder: Path, rules: str, *segments: str, coverage: bool = False, **files: str
) -> Mapped:
    """The result of mapping MSH and `segments`."""
    message = hl7v2.parse("\r".join([MSH, *segments]).encode())
    return mapping_set(folder, rules, **files).apply(message, CONTEXT, coverage=coverage)


def document(folder: Path, rules: str, *segments: str, **files: str) -> Document:
    """The one document of `mapped`."""
    (only,) = mapped(folder, rules, *segments, **files).documents
    return only
