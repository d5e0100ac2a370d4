"""Send the notices that are due: judged, rendered, handed to a destination, and noted. For the scheduler and the command.

A batch is taken in hand, sent, and noted. Who dies in between leaves notices in hand, which are due again after a
while: a notice may come twice, it is never lost. Mail that is refused for good becomes a letter where a letter may be
(R.1111-28: by post where there is no address or the mail fails).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

import msgspec
from sqlalchemy import Engine

from broker import notice_texts, retry
from broker.accounts import codes, days
from broker.accounts.notices import OF_ACCOUNT, Facts, Later, Person, Suppressed, Way, judge
from broker.contracts import Destination
from broker.database.engine import reading, writing
from broker.document import Patient
from broker.envelope import Envelope
from broker.errors import AmbiguousError, PermanentError, TransientError
from broker.notice_texts import Templates
from broker.records import account_moves, account_rows, notice_facts, notices, people
from broker.records.account_rows import Space
from broker.records.notices import Row, Settled
from broker.telemetry import Telemetry

AT_ONCE = 200
"""Notices in hand at a time."""

GONE = timedelta(minutes=15)
"""A notice that somebody has had in hand for so long is in nobody's."""

_CALM = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Ways:
    """How notices go out: a destination a channel, its retries, and what stands in every text."""

    destinations: Mapping[str, Destination]
    retries: Mapping[str, retry.Policy]
    language: str
    link: str
    site: str
    key: bytes


class Notifier:
    """Sends what is due. One thread."""

    def __init__(
        self,
        engine: Engine,
        ways: Ways,
        templates: Templates,
        telemetry: Telemetry,
        clock: Callable[[], datetime],
        random: Random,
    ) -> None:
        self._engine = engine
        self._ways = ways
        self._templates = templates
        self._telemetry = telemetry
        self._clock = clock
        self._random = random

    def send(self, limit: int | None = None) -> Counter[str]:
        """Send until nothing is due (or `limit` were looked at); how many came to which end.

        Raises: TransientError when the database is away.
        """
        ends: Counter[str] = Counter()
        with writing(self._engine) as connection:
            notices.put_back(connection, self._clock() - GONE)
        while limit is None or ends.total() < limit:
            size = AT_ONCE if limit is None else min(AT_ONCE, limit - ends.total())
            found = self._round(size)
            if not found:
                break
            ends.update(found)
        return ends

    def close(self) -> None:
        """Close the connections; nothing is sent afterwards."""
        for destination in self._ways.destinations.values():
            destination.close()

    def _round(self, size: int) -> Counter[str]:
        now = self._clock()
        with writing(self._engine) as connection:
            rows = notices.claim(connection, now, size)
        if not rows:
            return Counter()
        with reading(self._engine) as connection:
            facts = notice_facts.facts(connection, rows, now)
            spaces = account_rows.load(connection, {row.patient for row in rows})
            verdicts = {
                row.id: judge(facts[row.id], self._ways.destinations.keys(), now)
                for row in rows
                if row.id in facts
            }
            told = {row.patient for row in rows} | _told(verdicts)
            traits = people.of(connection, told)
        settled = [
            self._one(row, facts.get(row.id), verdicts.get(row.id), spaces, traits, now)
            for row in rows
        ]
        with writing(self._engine) as connection:
            notices.settle(connection, settled)
            confirmed = [
                row.patient
                for row, end in zip(rows, settled, strict=True)
                if row.kind == "deleted" and end.state != "due"
            ]
            account_moves.forget(connection, confirmed, now)
        for end in settled:
            name = {"sent": "notice_sent", "failed": "notice_failed"}.get(end.state)
            if name:
                self._telemetry.emit(name, channel=end.channel)
        return Counter(end.state for end in settled)

    def _one(
        self,
        row: Row,
        facts: Facts | None,
        verdict: Way | Suppressed | Later | None,
        spaces: Mapping[int, Space],
        traits: Mapping[int, Patient],
        now: datetime,
    ) -> Settled:
        if facts is None or verdict is None:
            return Settled(row.id, "suppressed", now, suppressed="deleted")
        if isinstance(verdict, Suppressed):
            return Settled(row.id, "suppressed", now, suppressed=verdict.why)
        if isinstance(verdict, Later):
            return Settled(row.id, "due", now, due_at=verdict.at)
        told = [
            one
            for one in verdict.to
            if verdict.channel != "letter" or notice_texts.address_of(traits.get(one.patient))
        ]
        if not told:
            return Settled(row.id, "suppressed", now, channel="letter", suppressed="no_address")
        try:
            for person in told:
                envelope = self._envelope(row, spaces[row.patient], verdict.channel, person, traits)
                self._ways.destinations[verdict.channel].deliver(envelope)
        except PermanentError as error:
            return self._refused(row, facts, verdict, error, now)
        except (TransientError, AmbiguousError) as error:
            return self._again(row, facts, verdict, error, now)
        return Settled(row.id, "sent", now, channel=verdict.channel, attempts=row.attempts + 1)

    def _again(
        self,
        row: Row,
        facts: Facts,
        way: Way,
        error: TransientError | AmbiguousError,
        now: datetime,
    ) -> Settled:
        policy = self._ways.retries[way.channel]
        tried = row.attempts + 1
        if retry.gives_up(policy, tried, now - row.created_at):
            return self._refused(row, facts, way, error, now)
        wait = retry.delay(policy, tried, self._random.random)
        return Settled(
            row.id, "due", now, channel=way.channel, reason=row.reason, due_at=now + max(wait, _CALM), attempts=tried
        )  # fmt: skip

    def _refused(
        self, row: Row, facts: Facts, way: Way, error: Exception, now: datetime
    ) -> Settled:
        """Another way, for what may go by one; else it failed, and stands in the history."""
        tried = ",".join([*facts.tried, way.channel])
        others = self._ways.destinations.keys() - set(tried.split(","))
        if row.kind in OF_ACCOUNT and others:
            return Settled(
                row.id, "due", now, channel=way.channel, reason=tried, due_at=now, attempts=0
            )
        code = getattr(error, "code", type(error).__name__)
        return Settled(
            row.id, "failed", now, channel=way.channel, reason=code, attempts=row.attempts + 1
        )

    # --- what is sent -------------------------------------------------------------------------------------------

    def _envelope(
        self, row: Row, space: Space, channel: str, to: Person, traits: Mapping[int, Patient]
    ) -> Envelope:
        own = to.language or space.language if channel != "mssante" else ""
        language = own or self._ways.language
        who = traits.get(to.patient)
        text = self._templates.text(
            row.kind,
            language,
            self._filled(row, space, language, channel, who),
        )
        keys = {"delivery": f"notice-{row.id & (2**64 - 1):016x}"}
        if len(traits) and to.patient != row.patient:
            keys["delivery"] += f"-{to.patient}"
        if channel == "letter":
            body, media = (
                self._templates.letter(text, language, notice_texts.address_of(who)),
                "text/html",
            )
        elif channel in ("mail", "mssante"):
            keys |= {"recipient": to.mail, "subject": text.subject}
            body, media = text.body.encode(), "text/plain"
        else:
            body, media = _for_programs(row, to, text, language), "application/json"
        return Envelope(
            source=channel, body=body, received_at=row.created_at, media=media, keys=keys
        )

    def _filled(
        self, row: Row, space: Space, language: str, channel: str, who: Patient | None
    ) -> dict[str, str]:
        """A letter greets by name; secure mail to a physician names the patient; nothing else names anybody."""
        code, until = "", ""
        if row.kind in ("informed", "code") and space.code is not None:
            code = codes.code_of(self._ways.key, space.patient, space.code.number)
            last = days.day_of(space.code.valid_until - timedelta(seconds=1), days.PARIS)
            until = notice_texts.day_words(last, language)
        return {
            "greeting": notice_texts.greeting(language, who if channel == "letter" else None),
            "code": code,
            "until": until,
            "day": notice_texts.day_words(days.day_of(row.created_at, days.PARIS), language),
            "reference": f"{row.id & (2**64 - 1):016X}",
            "patient": notice_texts.named(who, language) if channel == "mssante" else "",
            "link": self._ways.link,
            "site": self._ways.site,
        }


def _told(verdicts: Mapping[int, Way | Suppressed | Later]) -> set[int]:
    return {one.patient for way in verdicts.values() if isinstance(way, Way) for one in way.to}


def _for_programs(row: Row, to: Person, text: notice_texts.Text, language: str) -> bytes:
    """A webhook's body: numbers of this installation, the kind and the neutral text."""
    return msgspec.json.encode(
        {
            "notice": f"{row.id & (2**64 - 1):016x}",
            "kind": row.kind,
            "patient": row.patient,
            "to": to.patient,
            "at": row.created_at,
            "language": language,
            "subject": text.subject,
            "text": text.body,
        }
    )
