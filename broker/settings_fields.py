"""What each setting of a settings class is, in words: for `carnet explain` and the reference page.

The meanings stand in the class docstring's `Fields:` block, one `name: text` a line; the defaults are shown as
carnet.toml writes them.
"""

from __future__ import annotations

import inspect
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec

REQUIRED = "required"


class Described(msgspec.Struct, frozen=True):
    """One setting: its name, its default as in carnet.toml (or `required`), and its meaning ("" if nobody wrote one)."""

    name: str
    default: str
    meaning: str


def described(settings: type[Any]) -> list[Described]:
    """Every setting of a settings class, in its order."""
    meanings = _meanings(settings)
    return [
        Described(field.encode_name, _default(field), meanings.get(field.name, ""))
        for field in msgspec.structs.fields(settings)
    ]


def summary(settings: type[Any]) -> str:
    """The first line of a settings class's docstring."""
    return (inspect.getdoc(settings) or "").partition("\n")[0]


def duration_text(value: timedelta) -> str:
    """A duration in the largest unit that holds it whole (`"10m"`)."""
    milliseconds = value // timedelta(milliseconds=1)
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)):
        if milliseconds and milliseconds % size == 0:
            return f"{milliseconds // size}{unit}"
    return f"{milliseconds}ms"


def _meanings(settings: type[Any]) -> dict[str, str]:
    block = (inspect.getdoc(settings) or "").partition("Fields:")[2]
    pairs = (line.strip().partition(": ") for line in block.splitlines())
    return {name: meaning.strip() for name, colon, meaning in pairs if colon}


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.default is not msgspec.NODEFAULT:
        return _toml(field.default)
    if field.default_factory is not msgspec.NODEFAULT:
        return _toml(field.default_factory())
    return REQUIRED


def _toml(value: Any) -> str:
    if isinstance(value, timedelta):
        return f'"{duration_text(value)}"'
    if value is None or value == Path():
        return '""'
    if isinstance(value, msgspec.Struct):
        pairs = ", ".join(
            f"{name} = {_toml(getattr(value, name))}" for name in value.__struct_fields__
        )
        return f"{{ {pairs} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_toml(item) for item in value)}]"
    if isinstance(value, dict):
        return (
            f"{{ {', '.join(f'{name} = {_toml(item)}' for name, item in value.items())} }}"
            if value
            else "{}"
        )
    return msgspec.json.encode(value, enc_hook=str).decode()
