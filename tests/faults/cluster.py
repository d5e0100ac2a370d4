"""A RabbitMQ cluster of three nodes on this machine, each to be killed and started again."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
"""Debian's; the one on the path changes user and folder, this one takes its settings from us."""

_READY_SECONDS = 120.0


@dataclass
class Cluster:
    """Nodes 0 to 2; they find each other by their names in the settings."""

    folder: Path
    ports: Sequence[int]
    password: str
    names: Sequence[str]
    environment: dict[str, str]
    running: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.ports)
        return f"amqp://carnet:{self.password}@{hosts}/%2F"

    def start(self, node: int) -> None:
        """Launch one node; `await_ready` says when it answers."""
        home = self.folder / f"node{node}"
        home.mkdir(exist_ok=True)
        lines = [
            f"listeners.tcp.local = 127.0.0.1:{self.ports[node]}",
            "default_user = carnet",
            f"default_pass = {self.password}",
            "log.console = false",
            "disk_free_limit.absolute = 100MB",
            "cluster_formation.peer_discovery_backend = classic_config",
            *(
                f"cluster_formation.classic_config.nodes.{number} = {name}"
                for number, name in enumerate(self.names, 1)
            ),
        ]
        (home / "rabbitmq.conf").write_text("\n".join(lines) + "\n")
        (home / "enabled_plugins").write_text("[].\n")
        (home / "env.conf").touch()
        with (home / "out.log").open("ab") as log:
            self.running[node] = subprocess.Popen(
                [str(SERVER)],
                cwd=home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment
                | {
                    "RABBITMQ_NODENAME": self.names[node],
                    "RABBITMQ_MNESIA_BASE": str(home / "data"),
                    "RABBITMQ_LOG_BASE": str(home / "log"),
                    "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq.conf"),
                    "RABBITMQ_CONF_ENV_FILE": str(home / "env.conf"),
                    "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "enabled_plugins"),
                    "RABBITMQ_DIST_PORT": str(_free_ports(1)[0]),
                },
            )

    def await_ready(self, *nodes: int) -> None:
        """Wait until these nodes accept AMQP, which a node does only after it has joined the others."""
        deadline = time.monotonic() + _READY_SECONDS
        for node in nodes:
            while not _answers(self.ports[node]):
                assert self.running[node].poll() is None, self._log(node)
                assert time.monotonic() < deadline, self._log(node)
                time.sleep(0.2)

    def kill(self, node: int) -> None:
        """As a power cut does."""
        self.running[node].kill()
        self.running.pop(node).wait()

    def close(self) -> None:
        for node in list(self.running):
            self.kill(node)

    def _log(self, node: int) -> str:
        return (self.folder / f"node{node}" / "out.log").read_text(errors="replace")[-2000:]


@contextmanager
def three_nodes(folder: Path) -> Iterator[Cluster]:
    """A running cluster; gone afterwards, with the name server it had of its own."""
    if not SERVER.exists():
        pytest.skip(f"the nodes need RabbitMQ's own script at {SERVER}")
    epmd_port, *ports = _free_ports(4)
    unique = secrets.token_hex(4)
    (folder / ".erlang.cookie").write_text(secrets.token_hex(16))
    (folder / ".erlang.cookie").chmod(0o400)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "ERL_EPMD_PORT": str(epmd_port),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
            "-kernel inet_dist_use_interface {127,0,0,1} -start_epmd false"
        ),
        "RUNNING_UNDER_SYSTEMD": "true",  # the script becomes the Erlang VM, whose process id is then ours
    }
    epmd = subprocess.Popen(
        ["epmd", "-port", str(epmd_port), "-address", "127.0.0.1"],
        env=environment,
        stdin=subprocess.DEVNULL,
    )
    names = [f"carnet_{unique}_{node}@localhost" for node in range(3)]
    cluster = Cluster(folder, ports, secrets.token_hex(16), names, environment)
    try:
        # The first makes the cluster; the others find it.
        cluster.start(0)
        cluster.await_ready(0)
        cluster.start(1)
        cluster.start(2)
        cluster.await_ready(1, 2)
        yield cluster
    finally:
        cluster.close()
        epmd.terminate()
        epmd.wait()


def _free_ports(count: int) -> list[int]:
    held = [socket.socket() for _ in range(count)]
    for one in held:
        one.bind(("127.0.0.1", 0))
    ports = [int(one.getsockname()[1]) for one in held]
    for one in held:
        one.close()
    return ports


def _answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 2) as peer:
        peer.settimeout(5)
        peer.sendall(b"AMQP\x00\x00\x09\x01")
        return peer.recv(1) == b"\x01"
    return False
