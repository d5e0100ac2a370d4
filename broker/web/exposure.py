"""Whether the record's API may be served as it is set up: who could read, and on which way it would leave this machine."""

from __future__ import annotations

import ipaddress

from broker.errors import SetupError
from broker.settings_tables import Web


def check(web: Web) -> None:
    """Raises: SetupError when nobody's tokens are taken, or when health data would leave this machine in clear."""
    if not web.issuer:
        raise SetupError(
            "web.issuer",
            where="web.issuer",
            reason="no issuer of access tokens is named, so nobody could read",
            hint="add [[web.issuer]] with url and audience",
        )
    if web.tls_certificate or web.allow_plaintext or _is_loopback(web.host):
        return
    raise SetupError(
        "network.plaintext",
        where="web.host",
        reason="this address is beyond loopback and TLS is not set up",
        hint="set up TLS, or allow_plaintext = true where the network itself is protected",
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
