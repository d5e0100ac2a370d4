"""Makes the mail that carries a message: headers without patient data, a neutral text, the body as attachment. Pure."""

from __future__ import annotations

import hashlib
import re
from email import policy
from email.message import EmailMessage
from email.utils import format_datetime

from broker.envelope import Envelope

ADDRESS = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*"
)
"""A mailbox in ASCII, as RFC 5321 §4.1.2 has it, without quoted names and address literals."""

ADDRESS_BYTES = 254
"""Longest address: RFC 5321 §4.5.3.1.3 gives a path 256 octets, its angle brackets among them."""

_DOMAIN = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)+")

XDM = "application/zip"
TEXT = "text/plain"
_NAMES = {
    "x-application/hl7-v2+er7": "message.hl7",
    "application/cda+xml": "document.xml",
    "application/fhir+xml": "resource.xml",
    "application/fhir+json": "resource.json",
    XDM: "IHE_XDM.ZIP",
}
_XDM_SUBJECT = "XDM/1.0/DDM"
_POLICY = policy.SMTP.clone(cte_type="7bit")
_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,47}")
_DOT = re.compile(rb"^\.", re.MULTILINE)


def is_address(text: str) -> bool:
    """Whether a text is one mailbox, in ASCII."""
    return len(text) <= ADDRESS_BYTES and bool(ADDRESS.fullmatch(text))


def is_domain(text: str) -> bool:
    """Whether a text is a domain of two labels at least, in lower case."""
    return len(text) <= ADDRESS_BYTES and bool(_DOMAIN.fullmatch(text))


def mailbox(text: str) -> str:
    """The address that a text of a message is, in lower case; empty where it is none.

    Lower case on the left too, so that a mailbox is one recipient however senders write it: RFC 5321 §2.4 lets a server
    tell the cases apart and discourages it.
    """
    found = text.strip().lower().removeprefix("mailto:")
    return found if is_address(found) else ""


def message_id(envelope: Envelope, domain: str) -> str:
    """The `Message-ID` of a delivery's mail, the same at each attempt (RFC 5322 §3.6.4)."""
    return f"<{envelope_id(envelope)}@{domain}>"


def envelope_id(envelope: Envelope) -> str:
    """What names a delivery towards mail servers: the message's id and the delivery's; its digest without them."""
    ids = [envelope.keys.get(name, "") for name in ("message_id", "delivery")]
    known = [one for one in ids if _SAFE.fullmatch(one)]
    if envelope.keys.get("delivery", "") not in known:
        known.append(hashlib.sha256(envelope.body).hexdigest()[:32])
    return ".".join(known)


def compose(
    envelope: Envelope,
    *,
    sender: str,
    to: str,
    subject: str,
    text: str,
    identifier: str,
    reading_notice: bool,
) -> bytes:
    """One mail as it goes over the wire, lines ended by CR LF, without the dots of DATA.

    Every header is ours or a setting's: nothing of the message but its media type chooses anything. A plain text is
    the mail's own, under the `subject` of its envelope's keys: that is a notice, and Carnet wrote it. An archive goes
    as IHE XDM by mail wants it: `IHE_XDM.ZIP`, under a subject that begins with `XDM/1.0/DDM`.
    """
    mail = EmailMessage(policy=_POLICY)
    mail["From"] = sender
    mail["To"] = to
    mail["Date"] = format_datetime(envelope.received_at)
    mail["Message-ID"] = identifier
    is_xdm = envelope.media == XDM
    is_text = envelope.media == TEXT
    own = envelope.keys.get("subject", "") if is_text else ""
    subject = own if own and own.isprintable() else subject
    mail["Subject"] = f"{_XDM_SUBJECT}+{subject}" if is_xdm else subject
    if reading_notice:
        mail["Disposition-Notification-To"] = sender
    if is_text:
        mail.set_content(envelope.body.decode())
        return mail.as_bytes()
    mail.set_content(f"{text}\n")
    known = envelope.media if envelope.media in _NAMES else "application/octet-stream"
    main, _, sub = known.partition("/")
    mail.add_attachment(
        envelope.body,
        maintype=main,
        subtype=sub,
        filename=_NAMES.get(envelope.media, "message.bin"),
    )
    return mail.as_bytes()


def dotted(mail: bytes) -> bytes:
    """The mail with its leading dots doubled (RFC 5321 §4.5.2), its last line ended."""
    ended = mail if mail.endswith(b"\r\n") else mail + b"\r\n"
    return _DOT.sub(b"..", ended)
