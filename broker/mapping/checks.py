"""What is wrong with a rule though each of its words is right: two sources, a choice never reached, a field left out.

For `compile`, which knows the target and the table; each check notes its findings and changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from broker.document import ResultValue
from broker.mapping.paths import Path
from broker.mapping.problems import Place, Problems, did_you_mean
from broker.mapping.strict_yaml import Block, Sequence, Text
from broker.mapping.tables import Table
from broker.mapping.targets import Target, targets_of

_SOURCES = ("from", "first_of", "constant", "template", "choose", "fields")


def one_source(rule: Block, problems: Problems) -> None:
    """A rule reads from one place; of two, one would win in silence."""
    given = [name for name in rule.keys if name in _SOURCES]
    for name in given[1:]:
        problems.add(
            rule.keys[name].place,
            "E123",
            f"'{name}' beside '{given[0]}': a rule has one source",
            "use first_of for several, or default for a fallback",
        )


def repetitions(path: Path, text: Text, target: Target, is_one: bool, problems: Problems) -> None:
    """All repetitions do not fit a field with one value; that only the first is read is to be said."""
    if path.is_every and is_one:
        problems.add(
            text.place,
            "E127",
            f"'{text.value}' gives several values, the field takes one",
            f"write {text.value.replace('[*]', '[1]')} for the first, or 'as: text' for lines",
        )
    elif path.is_first_of_many and target.type is not ResultValue:
        field, _, rest = text.value.rpartition("/")[2].partition(".")
        head = text.value[: len(text.value) - len(field) - len(rest) - bool(rest)]
        tail = f".{rest}" if rest else ""
        several = "" if is_one else f", {head}{field}[*]{tail} for all"
        problems.warn(
            text.place,
            "W310",
            f"{field} repeats; only the first repetition is read",
            f"write {head}{field}[1]{tail} if intended{several}",
        )


def reachable(choices: Sequence, problems: Problems) -> None:
    """What stands behind a choice without `when` is never looked at."""
    for number, choice in enumerate(choices.items[:-1]):
        if not (isinstance(choice, Block) and "when" in choice.items):
            problems.add(
                choices.items[number + 1].place,
                "E124",
                "this choice is never reached: the one before it always holds",
                "put the one without 'when' last",
            )
            return


def braces(template: Text, problems: Problems) -> None:
    """Every brace of a template has its partner, and none stands in another."""
    is_open = False
    for character in template.value:
        if character == ("{" if is_open else "}"):
            break
        is_open = character == "{" or (is_open and character != "}")
    else:
        if not is_open:
            return
    problems.add(template.place, "E125", "a brace of the template has no partner")


def needed_fields(
    fields: Block, struct: type[msgspec.Struct], made: Collection[str], problems: Problems
) -> None:
    """A value whose needed fields have no rule is never made. `made` are those the engine fills itself."""
    for name, target in targets_of(struct).items():
        if target.needed and name not in made and name not in fields.items:
            problems.add(
                _first(fields),
                "E126",
                f"{struct.__name__} needs '{name}', which no rule fills",
                "without it nothing is made",
            )


def codes_of_table(table: Table, target: Target, place: Place, problems: Problems) -> None:
    """A table for a field with fixed codes gives only those; anything else would be dropped."""
    if not target.codes:
        return
    for row in table.rows.values():
        if row.code not in target.codes:
            problems.add(
                place,
                "E309",
                f"'{row.code}' ({table.file}:{row.line}) is no code of '{target.name}'",
                did_you_mean(row.code, target.codes) or "one of " + ", ".join(target.codes),
            )
            return


def _first(block: Block) -> Place:
    """The first key of a block: the place of the block itself is that of its first character."""
    return next((key.place for key in block.keys.values()), block.place)
