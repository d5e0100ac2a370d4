"""carnet.toml is read strictly: every problem at once, secrets by reference, nothing guessed."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest

from broker.contracts import Adapter, QueueOptions, QueuePlugin
from broker.errors import SetupError
from broker.settings import Settings, SettingsError, host_port, load
from broker.settings_read import key_lines

GOLDEN = Path(__file__).parent / "golden"


class Peer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    address: str
    token: str = ""


class ListenerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)]
    idle: timedelta = timedelta(seconds=30)
    password: str = ""
    folder: Path | None = None
    tokens: dict[str, str] = {}
    peers: tuple[Peer, ...] = ()


class SenderSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    to: str = ""


ADAPTERS = {
    "listener": Adapter("listener", "listens", source_settings=ListenerSettings),
    "sender": Adapter("sender", "sends", destination_settings=SenderSettings),
}


def _never(url: str, options: QueueOptions) -> Any:
    raise AssertionError("settings open no queue")


QUEUES = {"q": QueuePlugin("q", "a queue", ("embedded", "amqp", "amqps"), _never)}


def read(folder: Path, text: str, **given: Any) -> Settings:
    path = folder / "carnet.toml"
    path.write_text(text, encoding="utf-8")
    given.setdefault("environ", {})
    return load(path, given.pop("overrides", None), adapters=ADAPTERS, queues=QUEUES, **given)


def problems(folder: Path, text: str, **given: Any) -> str:
    with pytest.raises(SettingsError) as caught:
        read(folder, text, **given)
    return str(caught.value)


def test_every_problem_of_a_file_is_reported_at_once_with_file_line_key_and_hint(
    tmp_path: Path,
) -> None:
    path = GOLDEN / "settings_wrong.toml"
    expected = GOLDEN / "settings_wrong.txt"

    with pytest.raises(SettingsError) as caught:
        load(path, adapters=ADAPTERS, queues=QUEUES, environ={})

    text = "\n".join(str(problem) for problem in caught.value.problems) + "\n"
    if "CARNET_RENEW_GOLDEN" in os.environ:
        expected.write_text(text, encoding="utf-8")
    assert text == expected.read_text(encoding="utf-8")


def test_without_a_file_the_embedded_defaults_hold(tmp_path: Path) -> None:
    settings = Settings.default(tmp_path)

    assert settings.database.url == f"sqlite:///{tmp_path}/carnet.db"
    assert settings.queue.url == "embedded"
    assert settings.intake.max_batch == 500
    assert settings.sources == {}
    assert settings.site.zone.key == "Europe/Paris"


def test_relative_paths_count_from_the_folder_of_the_file(tmp_path: Path) -> None:
    settings = read(
        tmp_path,
        '[database]\nurl = "sqlite:///db/x.db"\n[mappings]\nfolders = ["ours"]\n[rules]\nfolder = "matrix"\n'
        '[source.a]\nadapter = "listener"\nport = 1\nfolder = "in"\n',
    )

    assert settings.database.url == f"sqlite:///{tmp_path}/db/x.db"
    assert settings.mappings.folders == (tmp_path / "ours",)
    assert settings.rules.folder == tmp_path / "matrix"
    assert settings.sources["a"].options.folder == tmp_path / "in"
    assert settings.site.data_folder == tmp_path / "data"


def test_the_adapters_own_settings_become_its_settings_object(tmp_path: Path) -> None:
    settings = read(
        tmp_path,
        '[source.ward]\nadapter = "listener"\non_conflict = "hold"\nport = 2575\nidle = "1.5m"\n'
        'peers = [{ address = "10.0.0.1" }]\n'
        '[destination.out]\nadapter = "sender"\nidempotent = true\nretry = { base = "5s", max_age = "7d" }\n'
        '[[route]]\nname = "all"\nto = ["out"]\nwhen = { source = ["ward"] }\n',
    )

    ward, out = settings.sources["ward"], settings.destinations["out"]
    assert ward.on_conflict == "hold"
    assert ward.options == ListenerSettings(
        port=2575, idle=timedelta(seconds=90), peers=(Peer(address="10.0.0.1"),)
    )
    assert out.idempotent
    assert out.retry.base == timedelta(seconds=5)
    assert out.retry.max_age == timedelta(days=7)
    assert settings.routes[0].when.source == ("ward",)


def test_secrets_are_resolved_from_the_environment_and_from_files(tmp_path: Path) -> None:
    (tmp_path / "pass.txt").write_text("from-file\n")

    settings = read(
        tmp_path,
        '[database]\nurl = { env = "DB" }\n'
        '[source.a]\nadapter = "listener"\nport = 1\npassword = { file = "pass.txt" }\n'
        'tokens = { lab = { env = "TOKEN" } }\n',
        environ={"DB": "postgresql+psycopg://u:p@h/d", "TOKEN": "from-env"},
    )

    assert settings.database.url == "postgresql+psycopg://u:p@h/d"
    assert settings.sources["a"].options.password == "from-file"
    assert settings.sources["a"].options.tokens == {"lab": "from-env"}
    assert settings.secrets == {"database.url", "source.a.password", "source.a.tokens.lab"}


@pytest.mark.parametrize(
    "line",
    [
        'password = "hunter2"',
        'tokens = { lab = "hunter2" }',
        'peers = [{ address = "x", token = "hunter2" }]',
        'password = { env = "ABSENT", file = "hunter2" }',
    ],
)
def test_a_secret_in_the_file_is_refused_and_not_repeated(tmp_path: Path, line: str) -> None:
    text = problems(tmp_path, f'[source.a]\nadapter = "listener"\nport = 1\n{line}\n')

    assert "carnet.toml:4: source.a." in text
    assert "hunter2" not in text


def test_a_resolved_secret_shows_in_no_text_of_the_settings(tmp_path: Path) -> None:
    settings = read(
        tmp_path,
        '[source.a]\nadapter = "listener"\nport = 1\npassword = { env = "P" }\n',
        environ={"P": "hunter2"},
    )

    assert "hunter2" not in repr(settings) + str(settings) + repr(settings.sources)


def test_a_wrong_value_beside_a_secret_does_not_show_it(tmp_path: Path) -> None:
    text = problems(
        tmp_path,
        '[database]\nurl = { env = "DB" }\n[source.a]\nadapter = "listener"\nport = "x"\npassword = { env = "P" }\n',
        environ={"P": "hunter2", "DB": "oracle://u:hunter2@h"},
    )

    assert "hunter2" not in text
    assert "carnet.toml:2: database.url: unknown scheme." in text


def test_overrides_lie_over_the_file_and_may_hold_a_url_with_its_password(tmp_path: Path) -> None:
    settings = read(
        tmp_path,
        '[queue]\nprefix = "a"\npartitions = 4\n',
        overrides={"queue.url": "amqp://u:p@h/", "queue.prefix": "b", "site.name": "x"},
    )

    assert (settings.queue.url, settings.queue.prefix, settings.queue.partitions) == (
        "amqp://u:p@h/",
        "b",
        4,
    )


def test_an_absent_file_and_a_broken_one_say_so_before_anything_else(tmp_path: Path) -> None:
    broken = tmp_path / "carnet.toml"
    broken.write_text("[site\n")

    with pytest.raises(SetupError, match=r"settings\.unreadable.*absent\.toml.*--config"):
        load(tmp_path / "absent.toml", adapters={})
    with pytest.raises(SetupError, match=r"settings\.not_toml: carnet\.toml.*line 1"):
        load(broken, adapters={})


def test_lines_are_found_for_tables_arrays_and_quoted_keys() -> None:
    text = '[a]\nx = 1\n\n[a."b"]\n"y" = 2\n[[route]]\nname = "1"\n[[route]]\nname = "2"\n'

    lines = key_lines(text)

    assert lines == {
        "a": 1, "a.x": 2, "a.b": 4, "a.b.y": 5,
        "route[0]": 6, "route[0].name": 7, "route[1]": 8, "route[1].name": 9,
    }  # fmt: skip


def test_a_listen_address_is_host_and_port() -> None:
    assert host_port("127.0.0.1:80") == ("127.0.0.1", 80)
    assert host_port("[::1]:9464") == ("::1", 9464)
    for wrong in ("9464", "host:", "host:99999", "::1:80"):
        with pytest.raises(ValueError, match="host:port"):
            host_port(wrong)
