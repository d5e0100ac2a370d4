"""The command `carnet`: each command in its own module, here only put together.

Only the module of the command that was asked for is imported, so that `carnet status` does not wait for what
`carnet demo` needs; all of them where help is wanted or the command is none.
It reads through the readers of `records` and `audit`, never from tables. Exit codes everywhere: 0 good, 1 something
found, 2 usage or set-up. Results go to standard output, remarks and progress to standard error.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from typing import Any

import typer

from broker import memory
from broker.cli import output
from broker.errors import CarnetError

RUN, LOOK, TRY, RECORDS = "Run", "Look and prove", "Send and try", "Records"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and end the process with its exit code."""
    try:
        given = sys.argv[1:] if arguments is None else list(arguments)
        memory.starting()
        command = assembled(given[0] if given else "")
        memory.settled()
        command(args=given, prog_name="carnet")
    except CarnetError as error:
        output.failure(error)
        sys.exit(output.SETUP)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # The reader (head, less) has seen enough; what is still buffered goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(output.GOOD)


def assembled(wanted: str = "") -> typer.Typer:
    """The command or group that is wanted; all of them, in their panels, where it is none."""
    is_one = any(wanted in names for panels in (_COMMANDS, _GROUPS) for names in panels.values())
    root = typer.Typer(
        name="carnet",
        help=(
            "Carnet files what hospitals, laboratories and radiologists send into the right patient's record, and "
            "proves that nothing was lost.\n\nBegin with `carnet demo`. Exit codes: 0 good, 1 something found, 2 usage "
            "or set-up."
        ),
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    root.callback()(_root)
    for panel, commands in _COMMANDS.items():
        for name, place in commands.items():
            if not is_one or name == wanted:
                root.command(name, rich_help_panel=panel)(_found(place))
    for panel, groups in _GROUPS.items():
        for name, place in groups.items():
            if not is_one or name == wanted:
                root.add_typer(_found(place), name=name, rich_help_panel=panel)
    return root


def _found(place: str) -> Any:
    """What stands at `module.name` of this package: a command's function, or a group of commands."""
    module, _, name = place.partition(".")
    return getattr(import_module(f"{__name__}.{module}"), name)


def _version(wanted: bool) -> None:
    if wanted:
        output.say(f"carnet {version('carnet')}")
        raise typer.Exit


def _root(
    _: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and end."
    ),
) -> None:
    return


_COMMANDS = {
    RUN: {
        "demo": "demo.demo",
        "serve": "serve.serve",
        "gateway": "serve.gateway",
        "worker": "serve.worker",
        "courier": "serve.courier",
        "scheduler": "serve.scheduler",
        "web": "serve.web",
    },
    LOOK: {
        "status": "status.status",
        "reconcile": "reconcile.reconcile",
        "drill": "drill.drill",
        "doctor": "doctor.doctor",
    },
    TRY: {
        "send": "send.send",
        "simulate": "simulate.simulate",
        "map": "map.map_",
        "explain": "explain.explain",
    },
    RECORDS: {"decide": "decide.decide"},
}
_GROUPS = {
    LOOK: {
        "messages": "messages.group",
        "lanes": "lanes.group",
        "parked": "parked.group",
        "audit": "audit.group",
        "archive": "archive.group",
        "encryption": "encryption.group",
    },
    TRY: {"mapping": "mapping.group", "codes": "codes.group"},
    RECORDS: {
        "record": "record.group",
        "patient": "patient.group",
        "account": "account.group",
        "consent": "consent.group",
        "notices": "notices.group",
    },
}
