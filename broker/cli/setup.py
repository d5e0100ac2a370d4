"""What every command starts from: the settings and files it was given.

Only here are files of settings looked for; everything else is passed on.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from broker import plugins, settings
from broker.errors import SetupError
from broker.settings import Settings

DEFAULT_FILE = Path("carnet.toml")
DEFAULT_DATA = Path("data")

Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        envvar="CARNET_CONFIG",
        show_default=False,
        help="Settings file. Default: ./carnet.toml, else the embedded defaults in ./data.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def read_settings(config: Path | None) -> Settings:
    """The settings of `--config`, of ./carnet.toml, or the embedded defaults. Raises SetupError."""
    path = config or (DEFAULT_FILE if DEFAULT_FILE.exists() else None)
    if path is None:
        return Settings.default(DEFAULT_DATA)
    return settings.load(path, adapters=plugins.adapters(), queues=plugins.queues())


def bytes_of(path: Path) -> bytes:
    """A file named by the user. Raises: SetupError("usage.file")."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise SetupError(
            "usage.file", where=str(path), reason=error.strerror or "cannot be read"
        ) from error
