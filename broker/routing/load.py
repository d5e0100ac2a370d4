"""From files of rules and routes of the settings to a `Routing`: read, checked, compiled. Reads only codes (`of_site`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, tzinfo

from broker.errors import MappingError, SetupError
from broker.mapping.catalogue import MappingSet
from broker.mapping.compile import Compiler
from broker.mapping.outbound import outgoing
from broker.mapping.problems import Problems
from broker.mapping.rule_files import RuleFile
from broker.mapping.run import Run
from broker.mapping.source_document import DocumentSource
from broker.mapping.strict_yaml import Text
from broker.mapping.systems import NONE
from broker.routing import checks, codes
from broker.routing.codes import Codes, Known
from broker.routing.language import Draft, read
from broker.rules.routing import Condition, Route, Routing, Rule, condition, rule_of
from broker.rules.routing_facts import CONTENT, Facts
from broker.settings import Settings, installed_folder


@dataclass(slots=True)
class Examined:
    """Rules and everything found wrong in them: for lint, which shows warnings too."""

    routing: Routing
    problems: Problems
    rules: tuple[Rule, ...] = field(default=())
    """Those of the files, without the routes of the settings."""


def examine(
    files: Iterable[RuleFile], routes: Sequence[Route], known: Known, zone: tzinfo = UTC
) -> Examined:
    """Read, check and compile without raising. `zone` is the one in which a rule's first day begins."""
    problems = Problems()
    drafts = [draft for file in files for draft in read(file, problems)]
    checks.names(drafts, known, problems)
    for draft in drafts:
        checks.values(draft, known.codes, problems)
    maker = _Maker(problems, known.codes, zone)
    rules = tuple(map(maker.rule, drafts))
    routing = Routing([*rules, *map(rule_of, routes)])
    if not problems.errors:
        places = {str(draft.place): draft.place for draft in drafts}
        checks.reached(routing.rules, lambda rule: places.get(rule.place), problems)
    return Examined(routing, problems, rules)


def examined(files: Sequence[RuleFile], settings: Settings | None) -> Examined:
    """For lint. Without settings destinations and sources are not looked up, and codes are those installed."""
    if not files:
        return Examined(Routing(), Problems())
    if settings is None:
        return examine(files, (), Known(codes.load(installed_folder("mappings/rules"))))
    return examine(files, settings.routes, _known(settings), settings.site.zone)


def _known(settings: Settings) -> Known:
    names = frozenset(route.name for route in settings.routes)
    found = codes.load(settings.rules.folder)
    return Known(found, settings.destinations, settings.sources, names)


def of_site(settings: Settings) -> Callable[[MappingSet], Routing]:
    """How the rules of a set become the routing of this installation.

    The function raises SetupError("routing.rules_invalid") with every problem, rendered. Without rule files nothing is
    read, and the routes of the settings are all there is.
    """

    def routing(mapping_set: MappingSet) -> Routing:
        if not mapping_set.rule_files:
            return Routing(map(rule_of, settings.routes))
        found = examined(mapping_set.rule_files, settings)
        if found.problems.errors:
            raise SetupError(
                "routing.rules_invalid",
                where=str(found.problems.errors[0].place),
                reason="\n".join(map(found.problems.render, found.problems.errors)),
                hint="`carnet mapping lint` shows all problems; nothing was changed",
            )
        return found.routing

    return routing


@dataclass(slots=True)
class _Maker:
    """Compiles drafts; problems of conditions in the mapping language are noted where they are."""

    problems: Problems
    codes: Codes
    zone: tzinfo

    def rule(self, draft: Draft) -> Rule:
        return Rule(
            id=draft.id.value,
            when=tuple(self._conditions(draft.when)),
            unless=tuple(self._conditions(draft.unless)),
            send=_values(draft.send),
            reason=draft.reason,
            to=_values(draft.to),
            en=draft.en,
            fr=draft.fr,
            priority=draft.priority,
            valid_from=self._begins(draft.valid_from),
            place=str(draft.place),
        )

    def _conditions(self, given: dict[str, list[Text]]) -> Iterable[Condition]:
        for name, texts in given.items():
            if name == CONTENT:
                yield from map(self._content, texts)
            elif name == "author_profession":
                yield self._profession(_values(texts))
            elif texts:
                yield condition(name, _values(texts))

    def _content(self, text: Text) -> Condition:
        source = DocumentSource()
        holds = Compiler(source, {}, self.problems).condition(text, source.root)

        def test(facts: Facts) -> bool:
            run = facts.kept("run", lambda: _run(facts))
            return holds(run, source.start(run, run.message))

        return Condition(CONTENT, (text.value,), test)

    def _profession(self, wanted: tuple[str, ...]) -> Condition:
        """A code as it is written, or a group of the matrix that one of the codes belongs to."""
        exact = frozenset(wanted)
        group_of = self.codes.group_of
        return Condition(
            "author_profession",
            wanted,
            lambda facts: any(
                code in exact or group_of(code) in exact for code in facts.of("author_profession")
            ),
        )

    def _begins(self, day: date | None) -> datetime | None:
        return None if day is None else datetime.combine(day, time(), self.zone)


def _values(texts: Sequence[Text]) -> tuple[str, ...]:
    return tuple(text.value for text in texts)


def _run(facts: Facts) -> Run:
    return outgoing(facts.document, _no_content, NONE)


def _no_content(_digest: str) -> bytes:
    raise MappingError("mapping.required", where="attachments", reason="no content here")
