"""The fates of an error: again, a person decides, park, or never started.

The class is chosen where the failure happens, and nobody reads an error's text to decide. An error names the
place (`where`) and a reason code, never the value: its text is safe to log.
"""

from __future__ import annotations

ANSWER_BYTES = 64 * 1024
"""As much of a partner's answer is kept with an error, in bytes."""


class CarnetError(Exception):
    """Base of everything Carnet raises on purpose.

    `code` is a stable reason code of the catalogue in `broker.events` (`hl7v2.no_msh`), `where` a place in the
    sender's own terms (`PID-7`, `ClinicalDocument/id`, `carnet.toml: source.lab.port`), `reason` a sentence
    without any value of the message.

    A destination gives the partner's `answer` along, which is kept with the attempt (its first `ANSWER_BYTES`);
    `answer_matched` says whether it names the message that was sent (None: its protocol needs no name), `peer` the
    network address that was sent to. The answer may hold health data: it is never part of the error's text.
    """

    def __init__(
        self,
        code: str,
        *,
        where: str = "",
        reason: str = "",
        hint: str = "",
        answer: bytes = b"",
        answer_matched: bool | None = None,
        peer: str = "",
    ) -> None:
        self.code = code
        self.where = where
        self.reason = reason
        self.hint = hint
        self.answer = bytes(answer[:ANSWER_BYTES])
        self.answer_matched = answer_matched
        self.peer = peer
        super().__init__(": ".join(part for part in (code, where, reason, hint) if part))


class TransientError(CarnetError):
    """It may work later without anybody's help: try again with backoff, up to a maximum age."""


class AmbiguousError(CarnetError):
    """The outcome is unknown (sent, no answer): a person decides, or again where the receiver is idempotent."""


class PermanentError(CarnetError):
    """It will fail the same way every time: park it, with the reason."""


class ParseError(PermanentError):
    """The bytes are not what their format promises; `where` says the place."""


class MappingError(PermanentError):
    """A mapping refused the message (a required field missing, an unmapped code with policy reject)."""


class SetupError(CarnetError):
    """Settings, certificates, services or mapping sets are wrong: nothing was started."""
