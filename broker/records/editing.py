"""The original of an edited message, and the link of the new one to it. For `broker.editing`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
from sqlalchemy import Connection, select

from broker.database.schema import message
from broker.values import MessageId, Seq, State


@dataclass(frozen=True, slots=True)
class Original:
    """What of a message its successor takes over: where it came from and how it was declared."""

    seq: Seq
    id: MessageId
    source: str
    state: State
    format: str
    media: str
    charset_declared: str
    keys: Mapping[str, str]
    sha256: bytes


def original(connection: Connection, seq: int) -> Original | None:
    """A message as one to be edited; None when there is none."""
    m = message.c
    row = connection.execute(
        select(
            m.seq, m.id, m.source, m.state, m.format, m.media, m.charset_declared, m.transport_keys, m.sha256
        ).where(m.seq == seq)
    ).one_or_none()  # fmt: skip
    if row is None:
        return None
    return Original(
        seq=Seq(row.seq),
        id=MessageId(str(row.id)),
        source=row.source,
        state=State(row.state),
        format=row.format,
        media=row.media or "",
        charset_declared=row.charset_declared or "",
        keys=msgspec.json.decode(row.transport_keys, type=dict[str, str])
        if row.transport_keys
        else {},
        sha256=bytes(row.sha256),
    )


def link(connection: Connection, seq: int, original_seq: int) -> None:
    """Note that a message is the corrected form of an earlier one."""
    connection.execute(
        message.update().where(message.c.seq == seq).values(edited_from=original_seq)
    )
