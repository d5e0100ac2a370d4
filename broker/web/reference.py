"""The reference page of the API, from the table of resources. For `docs/make.py`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from broker.web.refusing import HEADERS
from broker.web.resources import TABLE, parameters_of

_HEAD = """# The record's API

FHIR R4 (4.0.1), read side, below `/fhir`. JSON alone.
`GET /fhir/metadata` is the CapabilityStatement and `GET /fhir/openapi.json` the OpenAPI document; both need no token, and both come from the table this page is made from.
How to use it: [read records by FHIR](../how-to/read-by-fhir.md).

| request | answers |
|---|---|
| `GET /fhir/Type/id` | one resource |
| `POST /fhir/Type/_search` | a search, its parameters in a form (`application/x-www-form-urlencoded`): nothing about a patient stands in a URL |
| `GET /fhir/Type?...` | the same search by URL |
| `GET /fhir/Patient/id/$everything` | everything a record holds, for its patient |

A search names its patient: `patient` or `patient.identifier`. A patient may leave it out.
A parameter that is not listed here, and a modifier, is refused (400), never passed over.
Comma-separated values are alternatives; a parameter given twice must hold twice.
Dates take the prefixes eq, ne, lt, gt, le, ge, sa and eb.
Every search but that of Patient takes `_count` (200 at most), `_sort` (`-date` newest document first, or `date`) and `_include` as listed.
A Bundle has no `total`. Its links are sealed: they hold for the one who asked, with the same application, place and mode, and for `search_ttl`.

"""

_STATUS = (
    ("400", "the search or a header is wrong"),
    ("401", "no token, or one that is not taken"),
    ("403", "the token names nobody, or the application has no scope for that"),
    ("404", "hidden, or not there: the two are one answer; a page's link that is over"),
    ("405, 406, 413, 415", "method, format, size or content type is not taken"),
    ("500", "something failed inside the broker; the log has `web_failed`"),
    ("503", "come back later (`Retry-After`)"),
)


def page() -> str:
    """The page as Markdown, without the line that says it is generated."""
    parts = [_HEAD]
    for one in TABLE:
        shown = "what it is" if one.action == "list" else "what it says"
        parts += [f"## {one.name}\n\n", f"{one.meaning[0].upper()}{one.meaning[1:]}. "]
        parts.append(f"Shown, it counts as seeing {shown}.\n\n")
        if not one.searched:
            parts.append("By id alone.\n\n")
            continue
        rows = ((f"`{p.name}`", p.kind, p.meaning) for p in parameters_of(one))
        parts += [*_rows(("parameter", "kind", "meaning"), rows), "\n"]
        if one.includes:
            names = ", ".join(f"`{one.name}:{name}`" for name in sorted(one.includes))
            parts.append(f"`_include`: {names}.\n\n")
    parts += ["## Errors\n\nEvery error is an OperationOutcome; it never repeats a value.\n\n"]
    parts += [*_rows(("status", "meaning"), _STATUS), "\n"]
    parts += ["## Headers of every answer\n\n", *_rows(("header", "value"), HEADERS.items())]
    return "".join(parts)


def _rows(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |\n|{'---|' * len(head)}\n"]
    lines += [f"| {' | '.join(one.replace('|', chr(92) + '|') for one in row)} |\n" for row in rows]
    return lines
