"""An installation whose mappings a test changes, and whose stored messages it reads again. People are invented."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from broker import app, plugins, replay, settings
from broker.contracts import Work
from broker.database.schema import metadata
from broker.encryption import sealed
from broker.records import payloads
from broker.replay import Replayed, Replayer, Selection
from tests.broker.lane_site import MAPPINGS, PARIS, LaneSite

_SITE = """mapping: sites/mine/{kind}
version: 1.0.0
language: 1
from: hl7v2
extends:
  - ../../hl7v2/fr/{kind}.yaml
applies_when: MSH-9.1 = '{event}' and MSH-3.1 = 'GAM' and PID is present
documents:
  - name: patient
    fields:
      comments: = {word}
"""


def mappings(folder: Path, word: str) -> Path:
    """A set whose documents all say `word` as their comment."""
    made = folder / word
    shutil.copytree(MAPPINGS, made, ignore=shutil.ignore_patterns("*.tests"))
    for kind, event in (("adt", "ADT"), ("mdm", "MDM")):
        path = made / "sites" / "mine" / f"{kind}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_SITE.format(kind=kind, event=event, word=word), encoding="utf-8")
    return made


def mdm(
    patient: str,
    control_id: str,
    document: str,
    text: str,
    *,
    replaces: str = "",
    deletes: bool = False,
    pdf: str = "",
) -> bytes:
    """A document of an invented patient: announced, or in place of another one, or taken back."""
    event = "T10" if replaces else "T04" if deletes else "T02"
    body = (
        f"OBX|1|ED|1^Lettre||^application^pdf^Base64^{pdf}" if pdf else f"OBX|1|TX|1^Texte||{text}"
    )
    return (
        f"MSH|^~\\&|GAM|CHU|CARNET|CHU|20261123100000||MDM^{event}|{control_id}|P|2.5|||||FRA|UNICODE UTF-8\r"
        f"PID|||{patient}^^^CHU&1.2.250.1.999.1.1&ISO^PI||EXEMPLE^JEANNE^^^^^L||19540201|F\r"
        f"TXA|1|CN|TX|20261122|||||1^AUTEUR^Anne|||{document}|{replaces}|||| AU\r{body}||||||F\r"
    ).encode()


class ReplaySite(LaneSite):
    """A site that reads with a set of the test's, and changes it when the test says so."""

    def use(self, folder: Path) -> None:
        """Another set is active from now on."""
        text = self.file.read_text(encoding="utf-8")
        before = f'folders = ["{self.settings.mappings.folders[0]}"]'
        assert before in text
        self.file.write_text(text.replace(before, f'folders = ["{folder}"]'), encoding="utf-8")
        self.settings = settings.load(
            self.file, adapters=plugins.adapters(), queues=plugins.queues()
        )
        self.pipeline = app.pipeline_of(self.settings, self.engine, self.telemetry, "worker-0")
        self.worker._pipeline = self.pipeline

    def replay(
        self,
        ids: Sequence[str] = (),
        *,
        deliver: bool = False,
        rate: float = 5_000,
        gate: Callable[[], str] = lambda: "",
        hand_over: Callable[[Sequence[Work]], None] | None = None,
        stop: threading.Event | None = None,
        **chosen: Any,
    ) -> Replayed:
        """One run to its end, or until `stop`; the work is in the queue, not done."""
        if not ids and "since" not in chosen:
            chosen["since"] = self.now.replace(hour=0, minute=0)
        selection = Selection(ids=tuple(ids), **chosen)
        act = self.act()
        run, over, _ = replay.begin(self.engine, selection, act, delivers=deliver)
        return Replayer(
            self.engine,
            zone=PARIS,
            rate=rate,
            gate=gate,
            hand_over=hand_over or self.put,
            progress=lambda _position, _why: None,
            clock=self.clock,
        ).run(run, selection, over, act, stop or threading.Event())

    def replays_of(self, message_id: str) -> list[str]:
        """The replays of a message, oldest first."""
        rows = self.rows(
            "SELECT r.id FROM message r JOIN message m ON m.seq = r.replay_of WHERE m.id = :id ORDER BY r.seq",
            id=message_id,
        )
        return [str(row.id) for row in rows]

    def documents(self) -> list[dict[str, Any]]:
        """Every document of the records with its row, oldest first."""
        rows = self.rows(
            "SELECT d.*, p.payload FROM document d JOIN document_payload p ON p.id = d.id ORDER BY d.message_seq, d.id"
        )
        return [
            {
                "availability": row.availability,
                "series": row.series,
                "message_seq": row.message_seq,
                "replaces": None if row.replaces is None else str(row.replaces),
                "id": str(row.id),
                "document": msgspec.json.decode(
                    sealed.plain_of(payloads.TABLE, bytes(row.payload))
                ),
            }
            for row in rows
        ]

    def current(self) -> list[tuple[str, str, str]]:
        """(unique id, text, comment) of each current clinical document, sorted."""
        return sorted(
            (
                one["document"]["unique_id"]["value"],
                one["document"]["sections"][0]["narrative"]
                if one["document"].get("sections")
                else "",
                one["document"].get("comments", ""),
            )
            for one in self.documents()
            if one["availability"] == "current" and one["document"].get("unique_id")
        )

    def dump(self) -> dict[str, list[Any]]:
        """Every row of every table, to compare."""
        return {
            table: sorted(map(repr, map(tuple, self.rows(f'SELECT * FROM "{table}"'))))
            for table in metadata.tables
        }
