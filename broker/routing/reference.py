"""The reference page of routing rules, made from what reads and checks them. For `docs/make.py`."""

from __future__ import annotations

from collections.abc import Mapping

from broker.rules.routing import PRIORITY, ROUTE_KEYS
from broker.rules.routing_facts import KEYS

DIAGNOSTICS: Mapping[str, str] = {
    "E601": "The file has no list `rules`, or an entry of it is no block of keys.",
    "E602": "A name or a reason that could not stand in logs, lists and metrics: 1 to 40 of a-z, 0-9, _ and -, beginning "
    "with a letter. What people read stands in `en` and `fr`.",
    "E603": "A rule does one thing: it sends (`send`) or it filters (`filter`, with `to` for some destinations only).",
    "E604": "`priority` is a whole number, `valid_from` a calendar day.",
    "E605": "Two rules, or a rule and a `[[route]]` of the settings, share a name, so that no list could tell them apart.",
    "E606": "The settings have no such `[destination.NAME]`.",
    "E607": "The settings have no such `[source.NAME]`, or none that fits the pattern.",
    "E608": "The value does not exist in its code system: a word this condition does not know, or a code that the files of "
    "`[rules] folder` do not have.",
    "E609": "A value with `*` or `?` where every value is to be named.",
    "E610": "An earlier rule with the same or broader conditions has decided everything this one could decide.",
    "W601": "The code is in no national list of types or classes (`document-types.csv`, `document-classes.csv`). Right "
    "where a sender has codes of its own; most often a slip. Not said of rules for other kinds than clinical documents.",
    "W602": "The rule changes nothing, since an earlier one sends to the same destinations already; or a route of the "
    "settings stands behind a filter that takes all it could send.",
}

_HEAD = f"""# Routing rules

A rule says which documents go to which destinations, or are kept from them, and why.
Rules are YAML files in `rules/routing/` of a folder of `[mappings] folders`, or of a folder below it (`sites/NAME/rules/routing/`).
They are part of the mapping set: checked by `carnet mapping lint`, proved and taken up by `carnet mapping activate`, kept with the set in the ledger.
How to write one: [route documents](../how-to/route-documents.md).

```yaml
language: 1
rules:
  - rule: critical-results
    en: Critical results also go to the ward at once.
    fr: Les résultats critiques vont aussi aussitôt à l'unité.
    when:
      kind: [result_report]
      content: reports.observations.flags in ('HH', 'LL')
    send: [ward-alerts]
```

## A rule

| key | meaning |
|---|---|
| `rule` | its name: shown in decisions, timelines and lists |
| `en`, `fr` | the rule in one sentence, for people; both are needed |
| `when` | conditions that must all hold; none takes every document |
| `unless` | conditions of which none may hold |
| `send` | destinations that are owed the document |
| `filter` | instead of `send`: keep the document from destinations; the value is a short reason code of your own |
| `to` | with `filter`: from which destinations; without it from all of them |
| `priority` | a number, {PRIORITY} where none is given; smaller is earlier |
| `valid_from` | first day of the rule, from midnight of the site's time zone |
| `comment` | anything, for whoever reads the file |

Rules are tried by priority, then as they stand: folders in the order of the settings, files by name, rules from top to bottom.
The routes of the settings come after them, with priority {PRIORITY}.
A rule that holds sends to its destinations; a destination is owed a document once, under the first rule that leads to it.
A filter that holds takes its destinations from every later rule; what an earlier rule sends stays sent.
Without a rule that holds, a document is sent nowhere. Filing in the record is not decided here.

A `[[route]]` of `carnet.toml` is the short form of a rule that sends: {", ".join(f"`{name}`" for name in ROUTE_KEYS)}, and no more.

## Conditions

A condition holds when some value of the document is one of those listed.
Where patterns may stand, `*` is any text and `?` one character.

| condition | holds for | values | patterns |
|---|---|---|---|
"""

_CONTENT = """| `content` | a [condition of the mapping language](mapping-language.md) over the [document](document-model.md); of a list all must hold | text | |

`reports.observations.flags = 'HH'` asks whether any result is so; `reports.observations[code='2823-3' and flags='HH'] is present` whether that one is.

`consent` is looked at when the document is routed. A destination with `for_record = true` is asked about again at each attempt to deliver.

A destination that is sent a message's own bytes (`sends = "original"`) gets the whole message as soon as one of its documents goes there.

## What lint says

Codes that mappings have too are explained [there](mapping-diagnostics.md).

"""


def page() -> str:
    """The page, without its head line."""
    rows = [
        f"| `{key.name}` | {key.meaning} | {', '.join(f'`{word}`' for word in key.words)} "
        f"| {'yes' if key.may_match else ''} |\n"
        for key in KEYS.values()
    ]
    told = [f"### {code}\n\n{text}\n\n" for code, text in DIAGNOSTICS.items()]
    return "".join([_HEAD, *rows, _CONTENT, *told]).rstrip("\n") + "\n"
