"""What people read first: help, and what is said when something is wrong. Golden files, reviewed as diffs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.broker.cli.command import PROJECT, carnet, same_as_golden

COMMANDS = (
    "demo", "serve", "gateway", "worker", "courier", "scheduler", "web", "status", "reconcile", "drill", "doctor", "send", "simulate",
    "map", "explain", "decide", "messages list", "messages show", "messages timeline", "messages find", "messages replay", "audit tail",
    "audit export", "audit verify", "audit head", "audit verifier", "audit keys", "audit rotate", "archive run", "archive list", "archive verify", "archive read", "archive find",
    "encryption init", "encryption status", "encryption seal", "encryption rotate", "encryption key", "mapping lint", "mapping show", "mapping test", "mapping diff", "mapping schema",
    "mapping anonymise", "mapping activate", "mapping sets", "mapping coverage", "codes list", "codes map", "codes import", "codes export",
    "record list", "record read", "patient show", "patient find", "patient merge", "patient unmerge", "patient unmove", "patient link",
    "patient unlink", "patient candidates", "patient different", "patient journal",
    "consent give", "consent refuse", "consent withdraw", "consent block", "consent unblock", "consent team",
    "consent traitant", "consent oppose-emergency", "consent mandate", "consent application", "consent minor-act",
    "consent document", "consent show",
    "account show", "account open", "account close", "account oppose", "account oppose-filing", "account list",
    "account inform", "account activate", "account code", "account reopen", "account suspend", "account resume",
    "account object", "account delete", "account death", "account attach", "account migrate", "account run-due",
    "notices list", "notices show", "notices send",
    "lanes list", "lanes show", "lanes hold", "lanes release", "lanes skip",
    "parked list", "parked show", "parked release", "parked discard", "parked edit",
)  # fmt: skip


def test_the_help_names_every_command() -> None:
    result = carnet("--help")

    assert result.code == 0
    same_as_golden(result.out, "help.txt")


@pytest.mark.parametrize(
    "name",
    [
        "reconcile", "messages show", "messages replay", "audit verify", "mapping anonymise", "mapping activate", "mapping sets", "mapping coverage", "codes list", "account inform", "account migrate", "account oppose", "notices send",
        "codes map", "codes import", "codes export", "lanes list", "lanes skip", "lanes release", "parked release", "parked edit",
    ],
)  # fmt: skip
def test_the_help_of_a_command_teaches_by_example_and_names_its_exit_codes(name: str) -> None:
    result = carnet(*name.split(), "--help")

    assert result.code == 0
    same_as_golden(result.out, f"help-{name.replace(' ', '-')}.txt")


def test_every_command_has_an_example_in_its_own_words() -> None:
    from broker.cli import assembled

    root = assembled()
    found = {c.name: c.callback for c in root.registered_commands}
    for group in root.registered_groups:
        assert group.typer_instance is not None
        found |= {
            f"{group.name} {c.name or c.callback.__name__}": c.callback
            for c in group.typer_instance.registered_commands
            if c.callback
        }

    assert set(found) == set(COMMANDS)
    for name, callback in found.items():
        assert f"carnet {name}" in (callback.__doc__ or ""), name


ERRORS = {
    "no-ledger": ("status",),
    "no-such-file": ("status", "--config", "nowhere.toml"),
    "day": ("reconcile", "--day", "soon"),
    "state": ("messages", "list", "--state", "lost"),
    "reveal-without-motive": ("messages", "show", "X", "--reveal"),
    "address": ("send", "carnet.toml", "--to", "gopher://127.0.0.1"),
    "decide": ("decide",),
    "patient": ("record", "list", "--as", "physician", "--patient", "279053899904215x"),
    "explain": ("explain", "mlp"),
    "map": ("map", "carnet.toml", "--summary", "--coverage"),
    "anonymise": ("mapping", "anonymise", "carnet.toml", "--json"),
    "export": ("audit", "verify", "nothing.zip"),
    "codes-import": ("codes", "import", "carnet.toml"),
    "codes-import-place": ("codes", "import", str(PROJECT / "samples" / "11-fhir-document.json")),
    "codes-export": ("codes", "export", "carnet.toml"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_says_what_where_and_what_to_do(name: str, tmp_path: Path) -> None:
    arguments = ERRORS[name]
    (tmp_path / "carnet.toml").write_text('[site]\ndata_folder = "."\n', encoding="utf-8")
    if name in ("day", "state", "reveal-without-motive", "patient"):
        from tests.broker import ledger

        ledger.new(f"sqlite:///{tmp_path / 'carnet.db'}").dispose()

    result = carnet(*arguments, cwd=tmp_path)

    assert (result.code, result.out) == (2, "")
    same_as_golden(result.err.replace(str(PROJECT), "PROJECT"), f"error-{name}.txt")


def test_wrong_settings_are_all_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "carnet.toml").write_text(
        '[site]\nnam = "x"\n[intake]\nmax_batch = 0\n', encoding="utf-8"
    )

    result = carnet("doctor", cwd=tmp_path)

    assert result.code == 2
    assert "nam" in result.err
    assert "max_batch" in result.err


@pytest.mark.parametrize("name", ["mapping-set", "mapping-folder"])
def test_a_set_that_does_not_load_is_told_with_every_line_that_lint_says(
    name: str, tmp_path: Path
) -> None:
    (tmp_path / "carnet.toml").write_text('[mappings]\nfolders = ["mine"]\n', encoding="utf-8")
    if name == "mapping-set":
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "oru.yaml").write_text(
            "mapping: mine\nversion: 1.0.0\nlanguage: 1\nfrom: hl7v2\napplies_when: MSH-9 is present\n"
            "document:\n  titel: OBR-4\n  kind: OBR-444\n",
            encoding="utf-8",
        )

    result = carnet("mapping", "show", cwd=tmp_path)

    assert (result.code, result.out) == (2, "")
    same_as_golden(result.err.replace(str(tmp_path), "FOLDER"), f"error-{name}.txt")


def test_lint_tells_problems_in_the_order_of_their_lines(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "mapping: mine\nversion: 1.0.0\nlanguage: 1\nfrom: hl7v2\napplies_when: MSH-9 is present\n"
        "document:\n  patient:\n    sex:\n      from: PID-8\n      table: none\n  titel: OBR-4\n",
        encoding="utf-8",
    )

    result = carnet("mapping", "lint", str(tmp_path))

    lines = [line for line in result.out.splitlines() if " error " in line]
    assert [line.split()[2] for line in lines] == ["E305", "E102"]


def test_the_installed_command_and_the_module_are_the_same_command() -> None:
    arguments = ["decide", "--profession", "podiatrist", "--type", "11490-0", "--json"]
    script = Path(sys.executable).with_name("carnet")

    runs = [
        subprocess.run(
            [*start, *arguments], capture_output=True, text=True, cwd=PROJECT, check=False
        )
        for start in ([str(script)], [sys.executable, "-m", "broker"])
    ]

    assert [run.returncode for run in runs] == [1, 1]
    assert runs[0].stdout == runs[1].stdout != ""
