"""SFTP: messages as files in a partner's folder. The client is in `sftp_client`, who it trusts in `sftp_host_keys`."""

from __future__ import annotations

from adapters.sftp_client import SftpDestinationSettings, destination
from broker.contracts import Adapter

ADAPTER = Adapter(
    name="sftp",
    summary="Each message as one file in a partner's folder, over SSH with a verified host key",
    destination_settings=SftpDestinationSettings,
    destination=destination,
    verifiable="set files_stay = true where nobody takes the files away, or remove `verifiable`",
)
