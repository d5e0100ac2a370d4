"""Who may connect to a source, and in whose name: addresses and certificates bound to sending facilities."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from adapters.hl7_header import Header, read_headers
from broker.errors import SetupError


class AllowedPeer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One partner that may connect, and the names it may send under.

    Fields:
        address: Network address or range (`10.2.0.0/16`) it connects from; empty means any.
        certificate: Its certificate's subject (`CN=lab-a,O=Lab`), common name or DNS name; empty means none asked.
        applications: Values of MSH-3 (first component) it may use; empty means any.
        facilities: Values of MSH-4 (first component) it may use; empty means any.
        structure: FINESS of the health structure, kept with each message.
    """

    address: str = ""
    certificate: str = ""
    applications: tuple[str, ...] = ()
    facilities: tuple[str, ...] = ()
    structure: str = ""


@dataclass(frozen=True, slots=True)
class Admission:
    """What one connection may do: the allow-list entries it matches, none meaning that no list is configured."""

    peers: tuple[AllowedPeer, ...] = ()

    @property
    def structure(self) -> str:
        """The FINESS, when the matching entries agree on one."""
        structures = {peer.structure for peer in self.peers}
        return structures.pop() if len(structures) == 1 else ""

    @property
    def is_bound(self) -> bool:
        """Whether some sender's name would be refused."""
        return bool(self.peers) and all(peer.applications or peer.facilities for peer in self.peers)

    def refused_place(self, message: bytes) -> str:
        """`MSH-3` or `MSH-4` when the message is sent in a name this connection may not use; else empty.

        Every MSH in the bytes is held to it, so that a second message cannot hide behind the first.
        """
        if not self.is_bound:
            return ""
        headers = read_headers(message)
        if not headers:
            return "MSH-4"
        return next((place for header in headers if (place := self._refused(header))), "")

    def _refused(self, header: Header) -> str:
        application = header.component(3, 1).decode("utf-8", "replace")
        facility = header.component(4, 1).decode("utf-8", "replace")
        place = ""
        for peer in self.peers:
            if peer.facilities and facility not in peer.facilities:
                place = "MSH-4"
            elif peer.applications and application not in peer.applications:
                place = "MSH-3"
            else:
                return ""
        return place


class AllowList:
    """The peers a source is configured with, ready to be asked. Raises: SetupError for an address that is none."""

    def __init__(self, peers: Sequence[AllowedPeer], *, where: str) -> None:
        self._peers = []
        for number, peer in enumerate(peers, 1):
            try:
                network = ipaddress.ip_network(peer.address, strict=False) if peer.address else None
            except ValueError as error:
                raise SetupError(
                    "peer.address",
                    where=f"{where}[{number}].address",
                    reason="not an IP address or range",
                    hint="write 10.2.3.4 or 10.2.0.0/16",
                ) from error
            self._peers.append((network, peer))

    def admit(self, address: str, names: frozenset[str]) -> Admission | None:
        """What a connection from `address` with these certificate names may do; None when it may not be."""
        if not self._peers:
            return Admission()
        matching = []
        for network, peer in self._peers:
            if network is not None and not _within(address, network):
                continue
            if peer.certificate and peer.certificate not in names:
                continue
            matching.append(peer)
        return Admission(tuple(matching)) if matching else None


def _within(address: str, network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
    try:
        parsed = ipaddress.ip_address(address.split("%", maxsplit=1)[0])
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return parsed in network
