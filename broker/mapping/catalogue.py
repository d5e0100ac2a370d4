"""A set of mappings: loaded from a folder, checked as a whole, then immutable; and applied to messages.

A reload makes a new set. Loading reads files; applying reads nothing but its arguments. Of a set that was proved before
(`proved`), a mapping is compiled when a message first needs it.
"""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfoNotFoundError

from broker.errors import SetupError
from broker.mapping import outbound, outbound_fhir, proved
from broker.mapping import systems as systems_csv
from broker.mapping import tables as csv_tables
from broker.mapping.apply import ANY_TYPE, Choice, Compiled, Mapper
from broker.mapping.closures import RuleInfo
from broker.mapping.compile import Compiler
from broker.mapping.coverage import Reads, Suspects, reads_of
from broker.mapping.entries import compile_entries
from broker.mapping.inherit import extended_file, flatten
from broker.mapping.language import MappingFile, TableRef, groups_of, read
from broker.mapping.outbound import Outbound
from broker.mapping.outbound_fhir import Adjusting
from broker.mapping.outbound_set import Writers
from broker.mapping.paths import SourceFormat, TreeFormat
from broker.mapping.problems import Problems
from broker.mapping.rule_files import RuleFile, is_rule_file, rule_files
from broker.mapping.run import Context, Coverage, Mapped
from broker.mapping.selection import looks_at_kind_only, types_of
from broker.mapping.source_cda import CdaSource
from broker.mapping.source_document import DocumentSource
from broker.mapping.source_fhir import FhirSource
from broker.mapping.source_hl7v2 import Hl7v2Source
from broker.mapping.tables import Table
from broker.mapping.values import PARIS, Zone


@dataclass(frozen=True, slots=True)
class Trace:
    """How a value came about: the rule, its source path and table, and the loop indexes it was made at."""

    target: str
    rule: str
    source: str
    table: str
    at: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class MappingSet:
    """Mappings ready to run. `hash` is the SHA-256 (hex) of the set's files, recorded in every document."""

    hash: str
    mappings: MappingProxyType[str, Choice] = field(repr=False)
    mapper: Mapper = field(repr=False)
    warnings: tuple[str, ...] = ()
    writers: Writers = field(default_factory=Writers, repr=False)
    rule_files: tuple[RuleFile, ...] = field(default=(), repr=False)

    def apply(self, parsed: Any, context: Context, *, coverage: Coverage = False) -> Mapped:
        """Map one parsed message (its `format_name` says which mappings are tried).

        coverage: also list the populated source paths that no rule reads (see `run.Coverage`); it costs time.
        Raises: MappingError `mapping.none`, `mapping.ambiguous`, `mapping.required`, `mapping.unmapped_code`,
        `mapping.no_document`, `mapping.too_many_values`, `embedded.patient_mismatch`; with the place, no value.
        """
        return self.mapper.apply(parsed, context, coverage)

    @property
    def outbound(self) -> Mapping[str, Outbound | Adjusting]:
        """The mappings that write, by name."""
        return self.writers.mappings

    def explain(self, mapped: Mapped, document: int, target: str) -> list[Trace]:
        """The rules that gave `target` (a model path without indexes) of the nth document of `mapped`."""
        rules = self.mappings[mapped.documents[document].mapping.name].compiled().rules
        return [
            _trace(rules[number], at)
            for number, at in mapped.provenance[document]
            if _plain(rules[number].target) == target
        ]


def _trace(info: RuleInfo, at: tuple[int, ...]) -> Trace:
    return Trace(_plain(info.target), str(info.place), info.source, info.table, at)


def _plain(target: str) -> str:
    return target.replace("[{}]", "")


def load(folder: Path | Iterable[Path]) -> MappingSet:
    """Load every mapping below one folder or several.

    Raises: SetupError with every problem of every file: `file:line:column`, the line, a caret and a hint.
    """
    found = examine(folder, whole=False)
    found.problems.raise_errors()
    problems = found.problems
    warnings = tuple(problems.render(p) for p in problems.found if p.severity == "warning")
    return MappingSet(
        found.hash, found.mappings, found.mapper, warnings, found.writers, found.rule_files
    )


@dataclass(slots=True)
class Examined:
    """A set and everything found wrong in it: for lint, which shows warnings too."""

    hash: str
    mappings: MappingProxyType[str, Choice]
    mapper: Mapper
    problems: Problems
    writers: Writers
    rule_files: tuple[RuleFile, ...] = ()

    @property
    def outbound(self) -> Mapping[str, Outbound | Adjusting]:
        """The mappings that write, by name."""
        return self.writers.mappings


def examine(folder: Path | Iterable[Path], *, whole: bool = True) -> Examined:
    """Load without raising for what is wrong inside files. Raises SetupError when a folder is missing.

    whole: compile every mapping now, also of a set that was proved before.
    """
    roots = [folder] if isinstance(folder, Path) else list(folder)
    for root in roots:
        if not root.is_dir():
            raise SetupError(
                "mapping.set_invalid",
                where=str(root),
                reason="there is no such folder of mappings",
                hint="`[mappings] folders` of carnet.toml, or the command, names it",
            )
    with _uncollected():
        return _Loader([root.resolve() for root in roots]).examine(whole=whole)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without the garbage collector, now and later: a set is a million closures and cells, and would be walked each time.

    It has no cycles: when it is dropped, it goes without being walked. What is garbage already goes before, or it would be
    set aside with the set, for ever: not at a start, where nothing was set aside yet and nearly all there is stays.
    """
    was_enabled = gc.isenabled()
    if gc.get_freeze_count():
        gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()


class _Loader:
    def __init__(self, roots: list[Path]) -> None:
        self.roots = roots
        self.hash = self._hash()
        self.problems = Problems()
        self.files: dict[Path, MappingFile] = {}
        self.tables: dict[Path, Table] = {}
        self.systems = self._systems()
        self.is_examined = False
        """Whether the problems of all files were given to who asked; what is wrong from now on has to be raised."""

    def examine(self, *, whole: bool) -> Examined:
        for root in self.roots:
            for path in _mapping_files(root):
                file = read(path, self._shown(path), self.problems)
                if file is not None:
                    file.root = root
                    self.files[path] = file
        self._check_names()
        choices: dict[str, Choice] = {}
        extended = {
            extended_file(f, t.value, self.files) for f in self.files.values() for t in f.extends
        }
        written: dict[str, Outbound | Adjusting] = {}
        for path, file in self.files.items():
            if file.source == "document":
                out = self._compile_outbound(flatten(file, self.files, self.problems))
                if out is not None:
                    written[out.name] = out
                continue
            if file.target != "document":
                message = f"a mapping from {file.source} to {file.target} is not known here"
                self.problems.add(file.place, "E501", message, "to: document")
                continue
            if file.applies_when is None and path in extended:
                continue  # a fragment, examined with the files that extend it
            one = self._choice(flatten(file, self.files, self.problems))
            if one is not None:
                choices[one.name] = one
                if whole or self.hash != proved.SHIPPED:
                    one.compiled()
        self.is_examined = True
        mappings = MappingProxyType(choices)
        mapper = Mapper(mappings, self.systems, self.hash)
        writers = Writers(MappingProxyType(written), self.systems)
        rules = tuple(
            RuleFile(self._shown(path), path.read_bytes())
            for root in self.roots
            for path in rule_files(root)
        )
        return Examined(self.hash, mappings, mapper, self.problems, writers, rules)

    def _shown(self, path: Path) -> str:
        for root in self.roots:
            if path.is_relative_to(root):
                return f"{root.name}/{path.relative_to(root).as_posix()}"
        return path.name

    def _systems(self) -> systems_csv.Systems:
        text = ""
        for root in self.roots:
            path = root / "tables" / "systems.csv"
            if path.is_file():
                rows = path.read_text(encoding="utf-8")
                text = rows if not text else text + "\n" + rows.partition("\n")[2]
        return systems_csv.parse(text)

    def _check_names(self) -> None:
        seen: dict[str, MappingFile] = {}
        for file in self.files.values():
            if file.name in seen:
                self.problems.add(
                    file.place,
                    "E407",
                    f"mapping '{file.name}' exists twice",
                    f"also at {seen[file.name].place}",
                )
            seen[file.name] = file

    def _hash(self) -> str:
        digest = hashlib.sha256()
        for root in self.roots:
            for path in sorted(p for p in root.rglob("*") if p.suffix in {".yaml", ".csv"}):
                if path.is_file() and (not _in_tests(path, root) or is_rule_file(path, root)):
                    digest.update(path.relative_to(root).as_posix().encode() + b"\0")
                    digest.update(path.read_bytes().replace(b"\r\n", b"\n") + b"\0")
        return digest.hexdigest()

    def _table(self, ref: TableRef) -> Table | None:
        path = self._table_path(ref)
        if path is None:
            return None
        if path not in self.tables:
            table = csv_tables.load(path, self._shown(path), self.problems, ref.place)
            if table is None:
                return None
            self.tables[path] = table
        table = self.tables[path]
        if ref.unmapped or ref.default:
            return Table(table.file, table.rows, ref.unmapped, ref.default)
        return table

    def _table_path(self, ref: TableRef) -> Path | None:
        """The table file: beside the mapping or in a folder above it, never outside the set."""
        folder = ref.folder
        root = next((r for r in self.roots if folder.is_relative_to(r)), None)
        if root is None or ref.file.startswith("/") or ".." in Path(ref.file).parts or not ref.file:
            self.problems.add(ref.place, "E307", f"table '{ref.file}' is outside the set's folder")
            return None
        while True:
            path = folder / ref.file
            if path.is_file():
                if path.resolve().is_relative_to(root):
                    return path
                self.problems.add(
                    ref.place, "E307", f"table '{ref.file}' is outside the set's folder"
                )
                return None
            if folder == root:
                break
            folder = folder.parent
        self.problems.add(ref.place, "E301", f"table file '{ref.file}' is not there")
        return None

    def _tables(self, file: MappingFile) -> dict[str, Table]:
        found = {name: self._table(ref) for name, ref in file.tables.items()}
        return {name: table for name, table in found.items() if table is not None}

    def _compile_outbound(self, file: MappingFile) -> Outbound | Adjusting | None:
        tables = self._tables(file)
        if file.applies_when is None:
            return None  # a fragment, compiled where it is extended
        if file.target not in {"hl7v2", "fhir-r4"}:
            message = f"a mapping from document to {file.target} is not known here"
            self.problems.add(file.place, "E501", message, "to: hl7v2 or fhir-r4")
            return None
        unmapped = file.defaults.get("unmapped")
        compiler = Compiler(
            DocumentSource(), tables, self.problems, unmapped.value if unmapped else "keep"
        )
        if file.target == "fhir-r4":
            return outbound_fhir.compile_fhir(file, compiler, file.applies_when, self.problems)
        return outbound.compile_outbound(file, compiler, file.applies_when, self.problems)

    def _choice(self, file: MappingFile) -> Choice | None:
        """What is looked at to choose the mapping; the mapping itself is compiled once, from what was read here."""
        tables = self._tables(file)
        if file.applies_when is None:
            return None  # a fragment, compiled where it is extended
        source, selector = self._source(file, tables)
        applies = Compiler(selector, tables, self.problems).condition(
            file.applies_when, selector.root
        )
        is_hl7v2 = file.source == "hl7v2"

        @cache
        def compiled() -> Compiled:
            with _uncollected():
                made = self._compile(file, tables, source, selector)
            if self.is_examined:
                self.problems.raise_errors()
            return made

        return Choice(
            name=file.name,
            version=file.version,
            format=file.source,
            ancestors=frozenset(file.ancestors),
            applies=applies,
            selector=selector,
            compiled=compiled,
            types=types_of(file.applies_when.value) if is_hl7v2 else ANY_TYPE,
            by_kind=is_hl7v2 and looks_at_kind_only(file.applies_when.value),
        )

    def _compile(
        self,
        file: MappingFile,
        tables: dict[str, Table],
        source: SourceFormat,
        selector: SourceFormat,
    ) -> Compiled:
        unmapped = file.defaults.get("unmapped")
        compiler = Compiler(source, tables, self.problems, unmapped.value if unmapped else "keep")
        entries = compile_entries(file, compiler, self.problems)
        reads = Reads()
        if isinstance(source, Hl7v2Source) and isinstance(selector, Hl7v2Source):
            places = source.compiler.reads | selector.compiler.reads
            reads = reads_of(places, source.compiler.repeating, compiler.alternatives)
        return Compiled(
            name=file.name,
            version=file.version,
            format=file.source,
            source=source,
            tree=source if isinstance(source, TreeFormat) else None,
            entries=entries,
            rules=tuple(compiler.rules),
            reads=reads,
            ignored=frozenset(file.ignore),
            suspects=Suspects(reads, frozenset(file.ignore)),
            zone=self._zone(file),
            assigning_authority=_default(file, "assigning_authority"),
            decimal_comma=_default(file, "decimal_comma") == "accept",
            midnight_is_unknown=_default(file, "midnight_is_unknown") == "true",
            keep_unread=_default(file, "keep_unread") == "true",
        )

    def _source(
        self, file: MappingFile, tables: dict[str, Table]
    ) -> tuple[SourceFormat, SourceFormat]:
        if file.source == "hl7v2":
            groups = groups_of(file.groups, self.problems)
            return Hl7v2Source(groups, tables.get("units")), Hl7v2Source({})
        if file.source == "cda":
            return CdaSource(file.namespaces, tables.get("units")), CdaSource(file.namespaces, None)
        return FhirSource(), FhirSource()

    def _zone(self, file: MappingFile) -> Zone:
        name = _default(file, "timezone")
        if not name or name == PARIS.name:
            return PARIS
        try:
            return Zone(name)
        except (ZoneInfoNotFoundError, ValueError):
            self.problems.add(
                file.defaults["timezone"].place, "E121", f"unknown time zone '{name}'"
            )
            return PARIS


def _default(file: MappingFile, key: str) -> str:
    text = file.defaults.get(key)
    return text.value if text else ""


def _mapping_files(root: Path) -> list[Path]:
    found = sorted(p.resolve() for p in root.rglob("*.yaml"))
    return [p for p in found if p.is_relative_to(root) and not _in_tests(p, root)]


def _in_tests(path: Path, root: Path) -> bool:
    parts = path.relative_to(root).parts[:-1] if path.is_relative_to(root) else ()
    return any(part.endswith(".tests") or part == "rules" for part in parts)
