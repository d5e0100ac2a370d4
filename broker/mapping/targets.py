"""The document model as the compiler sees it: each field's item type, whether it is a list, its allowed codes."""

from __future__ import annotations

import types
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin

import msgspec


@dataclass(frozen=True, slots=True)
class Target:
    """One field of a model type. `name` is the model's word, `attribute` Python's (`class`, `class_`)."""

    name: str
    attribute: str
    type: Any
    many: bool
    needed: bool
    codes: tuple[str, ...] = ()

    @property
    def is_struct(self) -> bool:
        """Whether the item is a model type rather than a scalar."""
        return isinstance(self.type, type) and issubclass(self.type, msgspec.Struct)


@cache
def targets_of(struct: type[msgspec.Struct]) -> dict[str, Target]:
    """The fields of a model type by the model's name; read, never changed."""
    return {
        field.encode_name: _target(field.encode_name, field.name, field.type, field.required)
        for field in msgspec.structs.fields(struct)
    }


def _target(name: str, attribute: str, kind: Any, needed: bool) -> Target:
    many = False
    if get_origin(kind) in {Union, types.UnionType}:
        kind = next(a for a in get_args(kind) if a is not type(None))
    if get_origin(kind) is tuple:
        many, kind = True, get_args(kind)[0]
    if get_origin(kind) is Literal:
        return Target(name, attribute, str, many, needed, get_args(kind))
    return Target(name, attribute, kind, many, needed)
