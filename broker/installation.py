"""What belongs to one installation and to nobody else: the key of its digests, the folder of its trail's keys."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from broker.archive import keys
from broker.encryption import keyring
from broker.encryption.keyring import Keyring
from broker.errors import SetupError
from broker.settings import Settings

KEY_BYTES = 32


def digest_key(settings: Settings) -> bytes:
    """The key under which lanes and business keys are digested: `site.digest_key`, else a file made once.

    Every process of an installation must use the same one, so processes on several machines need the setting.
    Raises: SetupError("site.digest_key") when it is not 64 hexadecimal digits.
    """
    given = settings.site.digest_key
    text = given or _key_file(settings.site.data_folder / "digest.key")
    try:
        key = bytes.fromhex(text.strip())
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise SetupError(
            "site.digest_key",
            where="site.digest_key",
            reason="not 64 hexadecimal digits",
            hint="python3 -c 'import secrets; print(secrets.token_hex(32))'",
        )
    return key


def archive_key(settings: Settings) -> bytes:
    """The key of the archive: `retention.archive_key`, else one derived from the digest key.

    Raises: SetupError("retention.archive_key") when it is not 64 hexadecimal digits.
    """
    given = settings.retention.archive_key
    if not given:
        return keys.derived(digest_key(settings))
    try:
        key = bytes.fromhex(given.strip())
    except ValueError:
        key = b""
    if len(key) != keys.KEY_BYTES:
        raise SetupError(
            "retention.archive_key",
            where="retention.archive_key",
            reason="not 64 hexadecimal digits",
            hint="python3 -c 'import secrets; print(secrets.token_hex(32))'",
        )
    return key


def keyring_file(settings: Settings) -> Path | None:
    """The file of the master keys; None where they are given by reference."""
    given = settings.encryption
    return None if given.master_keys else given.keyring or settings.site.data_folder / "keyring"


def master_keys(settings: Settings) -> Keyring | None:
    """The master keys under which content is encrypted; None where there are none. Raises: SetupError."""
    path = keyring_file(settings)
    if path is None:
        return keyring.parse(settings.encryption.master_keys, "encryption.master_keys")
    return keyring.read(path) if path.exists() else None


def audit_keys(settings: Settings) -> Path:
    """The folder of the keys that sign the trail; every machine with a scheduler has its own."""
    return settings.site.data_folder / "audit-keys"


def _key_file(path: Path) -> str:
    """Read the key, or make it: written whole to a name of its own, then linked, so that two starts agree on one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        with os.fdopen(os.open(draft, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as file:
            file.write(secrets.token_hex(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text(encoding="ascii")
