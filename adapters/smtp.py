"""SMTP: each message as one mail. The client is in `smtp_client`, what a mail is made of in `smtp_mail`."""

from __future__ import annotations

from adapters.smtp_client import SmtpDestination, SmtpDestinationSettings
from broker.contracts import Adapter

ADAPTER = Adapter(
    name="smtp",
    summary="Each message as the attachment of one mail, handed to a mail server over TLS",
    destination_settings=SmtpDestinationSettings,
    destination=SmtpDestination,
    per_recipient=lambda settings: settings.recipients,
)
