"""The mapping language as a page: keywords, conditions, paths, policies and bounds, for `docs/make.py`.

Keywords and their meanings are those of the editor's schema, bounds those the engine holds. The paths and conditions
shown here are examples that a test compiles.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from broker.mapping import conditions, inherit, language, language_schema, parts, run
from broker.mapping.shape_names import SHAPE_NAMES

CONDITIONS = (
    ("PID-8 = 'F'", "some value of the path is the text"),
    ("PID-8 != 'F'", "no value is the text; holds for a missing value too"),
    ("OBX-2 in ('NM', 'SN')", "some value is one of these"),
    ("OBX-2 not in ('ED', 'RP')", "no value is one of these; holds for a missing value too"),
    ("OBX-3.1 like 'CORPS*'", "`*` stands for any text, `?` for one character; the whole value has to fit"),
    ("OBX-3.1 not like 'CORPS*'", "no value fits"),
    ("OBX-1 >= 2", "`<`, `<=`, `>`, `>=` compare as numbers with a number, as texts with a text in quotes"),
    ("PID-5 is present", "the path gives a value; the path alone says the same"),
    ("PID-5 is missing", "neither value nor null"),
    ("PID-5 is null", 'the source says that there is none (`""`, nullFlavor, data-absent-reason)'),
    ("PID-5 is empty", "missing or null"),
    ("not (PID-7 is present and PID-8 is present) or PID-5", "`and` binds closer than `or`"),
)  # fmt: skip

PATHS: Mapping[str, Sequence[tuple[str, str]]] = {
    "hl7v2": (
        ("PID-8", "the field's first repetition and first component"),
        ("PID-3.4.2", "component 4, subcomponent 2"),
        ("PID-3[2]", "a repetition, counted from 1; one that is not there is missing"),
        ("PID-3[*]", "all repetitions"),
        ("PID-3[last]", "the last repetition"),
        ("PID-3[.5='INS' and .1!='0']", "the repetitions for which this holds"),
        ("OBX[2]-5", "the second such segment"),
        ("OBX[-3.1='DESTDMP']-5.1", "the segments for which this holds"),
        ("order[1]/OBR-4", "in the first instance of a group"),
        ("order/observation[OBX-2.1='ED']", "the instances of a group for which this holds"),
        ("OBX", "a whole segment, for `each` and conditions"),
    ),
    "hl7v2, in `each: PID-3[*]`": (
        (".", "the repetition"),
        (".4.2", "its component 4, subcomponent 2"),
    ),
    "cda": (
        ("recordTarget/patientRole/id", "steps from the root or from the node of the innermost `each`"),
        ("component[2]/section", "counted from 1 among the elements of that name"),
        ("id/@root", "an attribute"),
        ("./@typeCode", "an attribute of the node itself"),
        (".", "the node itself"),
        ("../../code", "the element around the element around"),
        ("entry/observation[code/@code='718-7']", "those for which this holds; `!=` and a path alone work, too"),
        ("//section[template='1.3.6.1.4.1.19376.1.3.3.2.1']", "anywhere, by templateId/@root"),
        (".//observation", "anywhere below the node"),
        ("sdtc:deceasedInd/@value", "a prefix: `sdtc` and `xsi` are known, others stand under `namespaces`"),
    ),
    "fhir-r4": (
        ("Patient.name", "the resources of a type in the message"),
        ("Bundle.type", "the Bundle itself"),
        ("name.given", "from the resource or element of the innermost `each`"),
        ("name[0]", "counted from 0, as in FHIRPath"),
        ("Observation.value", "an element of several types, by its base name"),
        ("Observation.value.ofType(Quantity)", "only where it has this type"),
        ("telecom.where(system='phone').first()", "`=` or `!=` and a text; `first()` and `last()`"),
        ("Observation.subject.resolve()", "the resource a reference leads to within the message"),
        ("Patient.extension('http://hl7.org/fhir/StructureDefinition/patient-birthPlace').value", "an extension by its URL"),
        ("Observation.exclude(DiagnosticReport.result.resolve())", "without those another path gives"),
        ("$this", "the element itself; `.` says the same"),
    ),
    "document": (
        ("patient.birth_date", "a field of the document model, by names and dots"),
        ("patient.identifiers[kind='INS-NIR'].value", "those for which this holds"),
        ("reports[2].code", "counted from 1"),
        ("patient.identifiers[*]", "all"),
        ("document.patient.sex", "from the document itself, where an item has a field of that name"),
        (".", "the item of the innermost `each`"),
    ),
}  # fmt: skip

POLICIES = {
    "keep": "the sender's code alone; the default",
    "drop": "nothing",
    "reject": "the message is refused as `mapping.unmapped_code`",
    "hold": "the message waits, and its patient's later ones behind it, until the code is translated",
    "use CODE": "this code instead",
}

_BOUNDS = (
    ("files in one line of `extends`", inherit.MAX_LEVELS),
    ("rules that parts lay in", parts.MAX_RULES),
    ("values made of one message", run.MAX_VALUES),
)


def page(parsed: Sequence[tuple[str, int]] = ()) -> str:
    """The reference page below its first line, Markdown; `parsed` are the bounds of the parsers, which come first."""
    bounds = _bounds([*parsed, *_BOUNDS])
    return "\n".join([*_files(), *_rules(), *_conditions(), *_paths(), *_codes(), *bounds]) + "\n"


def _files() -> Iterator[str]:
    yield from (
        "# The mapping language",
        "",
        f"Language {language.LANGUAGE}.",
        "How it is used: [your first mapping](../tutorial/first-mapping.md), [mappings/README.md](../../mappings/README.md).",
        "What each error means: [diagnostics](mapping-diagnostics.md).",
        "An editor knows all of it by `carnet mapping schema`.",
        "",
        "## The file",
        "",
        "YAML, of which only blocks, lists and texts are used: everything is a text, no value changes its kind.",
        "No anchors, aliases, merge keys, tags or second documents; a key stands once.",
        f"`from` and `to` are {_words(language.FORMATS)}.",
        "",
        *_table("key", language_schema.TOP, language.TOP_KEYS),
        "### defaults",
        "",
        *_table("key", language_schema.DEFAULTS, language.DEFAULT_KEYS),
        "### An entry of documents",
        "",
        *_table("key", language_schema.ENTRY, language.ENTRY_KEYWORDS),
        "### An entry of segments",
        "",
        *_table("key", language_schema.SEGMENT, language.SEGMENT_KEYWORDS),
    )


def _rules() -> Iterator[str]:
    yield from (
        "## Rules",
        "",
        "`field: rule`, where the field is one of the [document model](document-model.md), or of the format that is written.",
        "A rule is a path, `= text` for a constant, a block of target fields, a list of rules for a field that is a list,",
        "or a block of these keywords:",
        "",
        *_table("keyword", language_schema.RULE, language.RULE_KEYWORDS),
        "A value is present, missing or null. Null is what the source says there is not; it ends `first_of` and `default`.",
        f"`as` is only needed where several [shapes](shapes.md) fit: {_words(SHAPE_NAMES)}.",
        "",
        "When files are merged, a rule is replaced whole; `name+` appends to an inherited list; `remove` takes away.",
        "`each` or `when` alone, over an inherited block, moves the block and keeps its fields.",
        "",
    )


def _conditions() -> Iterator[str]:
    yield from (
        "## Conditions",
        "",
        "For `when`, `applies_when` and `choose`.",
        "",
        "```",
        conditions.GRAMMAR.strip(),
        "```",
        "",
        *_rows(("condition", "holds when"), CONDITIONS),
        "",
    )


def _paths() -> Iterator[str]:
    yield "## Paths"
    yield ""
    for name, examples in PATHS.items():
        yield from (f"### {name}", "", *_rows(("path", "what it gives"), examples), "")


def _codes() -> Iterator[str]:
    yield from (
        "## Codes without a translation",
        "",
        "`unmapped` of a rule, else of its table, else of `defaults`.",
        "Whatever it says, the code is put on the work-list that `carnet codes list` shows.",
        "",
        *_rows(("unmapped", "what becomes of the code"), POLICIES.items()),
        "",
        "For a target that is `Coded` a translation stands beside the sender's code, which stays first.",
        "",
    )


def _bounds(bounds: Sequence[tuple[str, int]]) -> Iterator[str]:
    yield from (
        "## Bounds",
        "",
        "No mapping runs for ever: there are no functions, no recursion and no loops but over what a message holds.",
        "",
        "| at most | |",
        "|---|--:|",
        *(f"| {what} | {most:,} |" for what, most in bounds),
        "",
        f"More than {run.MAX_REPETITIONS} repetitions of a field are read, and noted as `many-repetitions`.",
    )


def _table(head: str, known: language_schema.Keywords, names: Iterable[str]) -> Iterator[str]:
    wanted = set(names)
    yield from _rows((head, "meaning"), ((n, known[n][0]) for n in known if n in wanted))
    yield ""


def _rows(head: tuple[str, str], rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    yield f"| {head[0]} | {head[1]} |"
    yield "|---|---|"
    for code, meaning in rows:
        yield f"| `{code}` | {meaning} |"


def _words(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
