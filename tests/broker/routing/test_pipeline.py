"""Through the whole pipeline, on both databases: a document goes only where a rule sends it, and a filtered one says why."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from broker import mapping_sets, plugins, settings
from broker.database.engine import reading
from broker.errors import SetupError
from broker.records import message_detail
from broker.routing.load import of_site
from tests.broker import ledger
from tests.broker.cli.command import SAMPLES, carnet, same_as_golden
from tests.broker.test_mapping_sets import PROJECT, Site, result

RULES = """language: 1
rules:
  - rule: opposed
    en: The patient opposes filing, so nothing of theirs leaves here.
    fr: "Le patient s'oppose à l'alimentation : rien de ce qui le concerne ne sort d'ici."
    priority: 10
    when:
      consent: [filing_opposed]
    unless:
      kind: [encounter_event]
    filter: patient_opposes
  - rule: no-dmp
    en: Results with codes of our own are not for the DMP.
    fr: Les résultats codés en interne ne vont pas au DMP.
    when:
      content: reports.observations[code='GLU'] is present
    filter: local_codes
    to: [dmp]
  - rule: critical
    en: Critical results also go to the ward.
    fr: Les résultats critiques vont aussi à l'unité.
    when:
      kind: [result_report]
      content: reports.observations.flags in ('HH', 'LL')
    send: [ward]
  - rule: results
    en: Results go to the archive and the DMP.
    fr: Les résultats vont aux archives et au DMP.
    when:
      kind: [result_report]
      message_type: [ORU^R01]
    send: [archive, dmp]
"""
DESTINATIONS = "".join(
    f'[destination.{name}]\nadapter = "mllp"\nhost = "127.0.0.1"\nport = {port}\n'
    for name, port in (("archive", 9), ("ward", 13), ("dmp", 11))
)
DESTINATIONS += "for_record = true\n"
SOURCE = '[source.lab]\nadapter = "mllp"\nport = 2579\n'


@dataclass
class Ruled(Site):
    """A site with destinations and routing rules of its own."""

    @property
    def settings(self) -> settings.Settings:
        return settings.load(self.config, adapters=plugins.adapters(), queues=plugins.queues())

    @property
    def rules(self) -> Path:
        return self.mappings / "rules" / "routing" / "site.yaml"

    def command(self, *arguments: str) -> tuple[int, str]:
        """Run `carnet` in this process."""
        ended = carnet(*arguments, "--config", str(self.config))
        self.remarks = ended.err
        return ended.code, ended.out

    def deliveries(self) -> list[tuple[str, str, str]]:
        """(control id, destination, rule) of all that is owed, in order."""
        with reading(self.engine) as connection:
            rows = connection.execute(
                text(
                    "SELECT m.control_id, d.destination, d.reason FROM delivery d "
                    "JOIN message m ON m.seq = d.message_seq ORDER BY d.id"
                )
            )
            return [(row[0], row[1], row[2]) for row in rows]

    def lines(self, *arguments: str) -> list[Any]:
        _, said = self.command(*arguments, "--json")
        assert self.remarks == ""
        return [json.loads(line) for line in said.splitlines()]

    def id_of(self, control_id: str) -> str:
        """The id of a message by what its sender called it."""
        with reading(self.engine) as connection:
            found = connection.execute(
                text("SELECT id FROM message WHERE control_id = :name"), {"name": control_id}
            )
            return str(found.scalar_one())

    def activate(self) -> None:
        """Make the set of the folders the active one."""
        folders = self.settings.mappings.folders
        expect = of_site(self.settings)
        mapping_sets.activate(self.engine, folders, "engineer", datetime.now(UTC), expect=expect)

    def steps(self, control_id: str) -> dict[str, str]:
        """The steps of a message's trail, each with its outcome."""
        with reading(self.engine) as connection:
            found = message_detail.detail(connection, self.id_of(control_id))
        assert found is not None
        return {step.name: step.outcome for step in message_detail.timeline(found.trail)}


@pytest.fixture
def site(empty_ledger: Engine, tmp_path: Path) -> Ruled:
    """A site on each database in turn."""
    return _made(empty_ledger, tmp_path)


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[Ruled]:
    """A site on SQLite, for what the command says."""
    engine = ledger.new(f"sqlite:///{tmp_path / 'carnet.db'}")
    yield _made(engine, tmp_path)
    engine.dispose()


def _made(engine: Engine, tmp_path: Path) -> Ruled:
    mappings = tmp_path / "mappings"
    without = shutil.ignore_patterns("cda", "fhir", "out", "sites")
    shutil.copytree(PROJECT / "mappings", mappings, ignore=without)
    config = tmp_path / "carnet.toml"
    url = engine.url.render_as_string(hide_password=False)
    (tmp_path / "url").write_text(url, encoding="utf-8")
    config.write_text(
        f'[site]\ndata_folder = "{tmp_path / "data"}"\n[database]\nurl = {{ file = "{tmp_path / "url"}" }}\n'
        f'[mappings]\nfolders = ["{mappings}"]\n{SOURCE}{DESTINATIONS}',
        encoding="utf-8",
    )
    made = Ruled(config, mappings, engine)
    made.rules.parent.mkdir()
    made.rules.write_text(RULES, encoding="utf-8")
    return made


def sample(name: str) -> bytes:
    return (SAMPLES / name).read_bytes()


def critical(control_id: str) -> bytes:
    return result(control_id).replace(b"|N|||F", b"|HH|||F")


def test_each_document_is_owed_where_the_rules_say_and_nowhere_else(site: Ruled) -> None:
    pipeline = site.pipeline()
    work = site.receive(
        result("C1"), critical("C2"), result("C3", "GLU"), sample("15-adt-a01-opposition.hl7")
    )

    pipeline.process([one.id for one in work])

    assert site.deliveries() == [
        ("C1", "archive", "results"), ("C1", "dmp", "results"),
        ("C2", "ward", "critical"), ("C2", "archive", "results"), ("C2", "dmp", "results"),
        ("C3", "archive", "results"),
    ]  # fmt: skip
    steps = site.steps("C3")
    assert steps["routed to archive"] == "rule results"
    assert steps["filtered for dmp"] == "rule no-dmp: local_codes"


def test_a_message_that_is_only_filtered_is_filtered_by_its_rule(site: Ruled) -> None:
    pipeline = site.pipeline()
    work = site.receive(sample("15-adt-a01-opposition.hl7"), sample("16-oru-opposed-patient.hl7"))

    pipeline.process([one.id for one in work])

    assert site.deliveries() == []
    assert site.steps("SIL000117")["filtered for every destination"] == (
        "rule opposed: patient_opposes"
    )
    with reading(site.engine) as connection:
        rows = connection.execute(
            text("SELECT reason, reason_place, mapping_set FROM message ORDER BY seq")
        ).all()
        *_, entry = connection.execute(
            text("SELECT decision, outcome FROM audit_entry WHERE act = 'filtered' ORDER BY n")
        )
    assert [tuple(row)[:2] for row in rows] == [
        ("account.opposed", None),
        ("routing.filtered", "opposed"),
    ]
    assert tuple(entry) == ("CON-07 deny account.opposed", "routing.filtered")
    sentences = mapping_sets.rule_sentences(site.engine, rows[1].mapping_set)
    assert sentences["opposed"].startswith("The patient opposes filing")


def test_routes_of_the_settings_and_rules_go_together(site: Ruled) -> None:
    with site.config.open("a", encoding="utf-8") as config:
        config.write('[[route]]\nname = "to the ward"\nto = ["ward", "dmp"]\n')

    site.pipeline().process([one.id for one in site.receive(result("C1", "GLU"))])

    assert site.deliveries() == [("C1", "archive", "results"), ("C1", "ward", "to the ward")]


def test_workers_take_up_changed_rules_with_the_set(site: Ruled) -> None:
    pipeline = site.pipeline()
    pipeline.process([one.id for one in site.receive(result("C1"))])
    site.rules.write_text(RULES.replace("[archive, dmp]", "[ward]"), encoding="utf-8")

    assert not pipeline.renew(at_once=True), "a changed file changes nothing that runs"
    site.activate()
    assert pipeline.renew(at_once=True)

    pipeline.process([one.id for one in site.receive(result("C2"))])
    assert [one for one in site.deliveries() if one[0] == "C2"] == [("C2", "ward", "results")]


def test_a_message_that_is_only_filtered_says_which_rule_did_it_and_why(embedded: Ruled) -> None:
    pipeline = embedded.pipeline()
    work = embedded.receive(
        sample("15-adt-a01-opposition.hl7"), sample("16-oru-opposed-patient.hl7")
    )

    pipeline.process([one.id for one in work])

    assert embedded.deliveries() == []
    (line,) = embedded.lines("messages", "list", "--reason", "routing.filtered")
    assert (line["control_id"], line["state"], line["place"]) == (
        "SIL000117",
        "filtered",
        "opposed",
    )
    assert line["sentence"].startswith("The patient opposes filing")
    _, shown = embedded.command("messages", "list")
    assert "opposed: The patient opposes filing, so nothing of theirs leaves here." in shown
    steps = embedded.lines("messages", "timeline", embedded.id_of("SIL000117"))
    (step,) = (one for one in steps if one["step"].startswith("filtered"))
    assert step["step"] == "filtered for every destination"
    assert step["words"] == line["sentence"]
    code, said = embedded.command("reconcile")
    assert code == 0, said


def test_the_sentence_is_the_one_of_the_set_that_decided(embedded: Ruled) -> None:
    pipeline = embedded.pipeline()
    work = embedded.receive(
        sample("15-adt-a01-opposition.hl7"), sample("16-oru-opposed-patient.hl7")
    )
    pipeline.process([one.id for one in work])

    changed = RULES.replace("so nothing of theirs leaves here", "and that is that")
    embedded.rules.write_text(changed, encoding="utf-8")
    assert embedded.command("mapping", "activate")[0] == 0

    (line,) = embedded.lines("messages", "list", "--reason", "routing.filtered")
    assert line["sentence"].endswith("so nothing of theirs leaves here.")


def test_rules_that_do_not_hold_are_refused_and_change_nothing(embedded: Ruled) -> None:
    pipeline = embedded.pipeline()
    embedded.rules.write_text(RULES.replace("[archive, dmp]", "[archiv]"), encoding="utf-8")

    code, _ = embedded.command("mapping", "activate")
    assert code == 2
    assert "did you mean 'archive'?" in embedded.remarks
    code, said = embedded.command("mapping", "lint")
    assert code == 1
    assert "rules/routing/site.yaml" in said
    assert not pipeline.renew(at_once=True)
    with pytest.raises(SetupError, match=r"routing\.rules_invalid"):
        embedded.pipeline()
    pipeline.process([one.id for one in embedded.receive(result("C1"))])
    assert len(embedded.deliveries()) == 2


def test_a_decision_about_a_stored_message_lists_every_rule(embedded: Ruled) -> None:
    pipeline = embedded.pipeline()
    work = embedded.receive(
        sample("15-adt-a01-opposition.hl7"), sample("16-oru-opposed-patient.hl7")
    )
    pipeline.process([one.id for one in work])

    message = embedded.id_of("SIL000117")

    (line,) = embedded.lines("decide", "--message", message)

    assert line["filtered"] == [{"to": None, "rule": "opposed", "reason": "patient_opposes"}]
    assert [(one["rule"], one["state"]) for one in line["rules"]] == [
        ("opposed", "taken"), ("no-dmp", "stopped"), ("critical", "stopped"), ("results", "stopped"),
    ]  # fmt: skip
    embedded.rules.write_text(
        RULES.replace("[filing_opposed]", "[space_not_open]"), encoding="utf-8"
    )
    assert embedded.command("mapping", "activate")[0] == 0
    (now,) = embedded.lines("decide", "--message", message)
    (then,) = embedded.lines("decide", "--message", message, "--then")
    assert [one["to"] for one in now["sent"]] == ["archive", "dmp"]
    assert now["withheld"] == [{"to": "dmp", "reason": "account.opposed"}]
    assert then["filtered"] == line["filtered"]


def test_a_decision_about_a_file_says_in_words_what_failed(embedded: Ruled, tmp_path: Path) -> None:
    (tmp_path / "report.hl7").write_bytes(result("C1", "GLU"))
    report, admission = str(tmp_path / "report.hl7"), str(tmp_path / "admission.hl7")
    Path(admission).write_bytes(sample("01-adt-a01.hl7"))

    code, shown = embedded.command("decide", report, "--source", "lab")
    (line,) = embedded.lines("decide", report, "--source", "lab")

    assert code == 0
    same_as_golden(shown, "decide-routing.txt")
    assert [one["fr"] for one in line["rules"]] == [
        "ne s'applique pas : le consentement du patient n'est pas parmi filing_opposed",
        "filtre pour dmp (local_codes)",
        "ne s'applique pas : le contenu n'est pas tel que reports.observations.flags in ('HH', 'LL')",
        "envoie vers archive",
    ]
    assert embedded.command("decide", admission, "--source", "lab")[0] == 1
    assert embedded.command("decide", admission)[0] == 2
