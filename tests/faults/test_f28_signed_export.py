"""F28, signatures and exports: every format names what was changed, and an auditor needs one Python file for it."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from broker.audit import export, forms, keys, seal, verify
from broker.audit.keys import KeyFolder
from broker.database import migrate
from broker.database.engine import open_engine, reading, writing
from tests.broker.audit import signed_trail
from tests.broker.audit.signed_trail import NOW, PER_SEGMENT, SEGMENTS, fill
from tests.broker.cli.command import carnet

FORMATS: tuple[forms.FormName, ...] = ("jsonl", "fhir", "atna")
ENTRIES = PER_SEGMENT * SEGMENTS
# Line 1 is the header, 2-5 entries, 6 a seal, 7-10 entries, 11 a seal, 12-15 entries, 16 a seal, 17 the end.
LINES = 17


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    url = f"sqlite:///{tmp_path / 'carnet.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_url")
    opened = open_engine(url)
    migrate.upgrade(opened, NOW)
    yield opened
    opened.dispose()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Engine, KeyFolder]]:
    """A signed trail of twelve entries in three segments, read only."""
    folder = tmp_path_factory.mktemp("site")
    opened = open_engine(f"sqlite:///{folder / 'carnet.db'}")
    migrate.upgrade(opened, NOW)
    found = signed_trail.folder(folder)
    fill(opened, found)
    yield opened, found
    opened.dispose()


@pytest.fixture(params=FORMATS)
def exported(
    request: pytest.FixtureRequest, site: tuple[Engine, KeyFolder], tmp_path: Path
) -> Path:
    """The signed trail as a file, in each format."""
    engine, folder = site
    path = tmp_path / f"audit.{request.param}"
    export.export(engine, path, form=forms.form(request.param, "site"), signer=folder.existing())
    return path


def anchor(folder: KeyFolder, which: int = 0) -> tuple[bytes, ...]:
    return (bytes.fromhex(folder.public()[which].public),)


def lines_of(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def test_a_signed_trail_is_proved_in_the_database_and_in_each_format(
    engine: Engine, tmp_path: Path
) -> None:
    folder = signed_trail.folder(tmp_path)
    fill(engine, folder)
    with reading(engine) as connection:
        noted = seal.checkpoint(seal.last_seal(connection))

    found = verify.verify(engine, noted, folder.public())
    assert (found.bad, found.entries, found.signed) == (None, ENTRIES, SEGMENTS)
    for name in FORMATS:
        path = tmp_path / f"{name}.zip"
        made = export.export(engine, path, form=forms.form(name, "site"), signer=folder.existing())
        assert made == export.Exported(SEGMENTS, ENTRIES)
        result = verify.verify_export(path, noted, anchor(folder))
        assert (result.bad, result.entries, result.signed) == (None, ENTRIES, SEGMENTS)
        assert result.head == found.head


@pytest.mark.parametrize("line", range(1, LINES + 1))
def test_one_changed_byte_anywhere_names_its_line(exported: Path, line: int) -> None:
    lines = lines_of(exported)
    assert len(lines) == LINES
    unseen = []
    places = len(lines[line - 1]) - 1
    for at in range(0, places, max(1, places // 60)):
        changed = bytearray(lines[line - 1])
        changed[at] ^= 1
        exported.write_bytes(b"".join([*lines[: line - 1], bytes(changed), *lines[line:]]))
        try:
            bad = verify.verify_export(exported).bad
        except verify.SetupError:
            assert line == 1
            continue
        if bad is None or bad.line != line:
            unseen.append((at, bad))
    assert not unseen


def deleted(lines: list[bytes]) -> list[bytes]:
    return [*lines[:7], *lines[8:]]


def inserted(lines: list[bytes]) -> list[bytes]:
    return [*lines[:7], lines[2], *lines[7:]]


def swapped(lines: list[bytes]) -> list[bytes]:
    return [*lines[:7], lines[8], lines[7], *lines[9:]]


@pytest.mark.parametrize("change", [deleted, inserted, swapped])
def test_entries_deleted_inserted_or_swapped_are_named(
    exported: Path, change: Callable[[list[bytes]], list[bytes]]
) -> None:
    exported.write_bytes(b"".join(change(lines_of(exported))))

    bad = verify.verify_export(exported).bad

    assert bad is not None
    assert (bad.kind, bad.line, bad.segment) == (change.__name__, 8, 2)


@pytest.mark.parametrize("kept", range(1, LINES))
def test_a_truncated_file_is_named(exported: Path, kept: int) -> None:
    exported.write_bytes(b"".join(lines_of(exported)[:kept]))

    bad = verify.verify_export(exported).bad

    assert bad is not None
    assert (bad.kind, bad.line) == ("truncated", kept + 1)


def test_a_seal_taken_out_with_its_entries_is_named(exported: Path) -> None:
    lines = lines_of(exported)
    exported.write_bytes(b"".join([*lines[:6], *lines[11:]]))

    bad = verify.verify_export(exported).bad

    assert bad is not None
    assert (bad.kind, bad.segment, bad.line) == ("seal", 2, 11)


def forged(lines: list[bytes], folder: KeyFolder | None) -> bytes:
    """The whole export written again by a forger: one entry changed, the chain sealed anew, and signed, or not."""
    header = json.loads(lines[0])
    signer = folder.existing() if folder else None
    header["keys"] = [
        {"public": signer.key.public, "endorsed_by": "", "endorsement": ""}
    ] if signer else []  # fmt: skip
    line_of = forms.JsonLines().other
    out, digests, previous = [line_of("header", header, 0)], [], bytes(32)
    for line in lines[1:-1]:
        if line.startswith(b'{"entry"'):
            line = line.replace(b'"filed"', b'"field"')
            digests.append(hashlib.sha256(line[9:-2]).digest()[:16])
            out.append(line)
            continue
        told = json.loads(line)["seal"]
        told["digests"], told["previous_head"] = b"".join(digests).hex(), previous.hex()
        numbers = [told[k] for k in ("segment", "from_n", "to_n", "entries", "sealed_at")]
        previous = seal.chain.head_of(
            previous, numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], b"".join(digests)
        )
        told["head"], digests = previous.hex(), []
        told.pop("key"), told.pop("signature")
        if signer:
            told |= {"key": signer.key.id, "signature": signer.seal(numbers[0], previous).hex()}
        out.append(line_of("seal", told, 0))
    whole = b"".join(out)
    return whole + line_of("end", {"end": SEGMENTS, "sha256": hashlib.sha256(whole).hexdigest()}, 0)


def test_a_trail_forged_as_a_whole_is_found_by_the_key_of_the_site(
    site: tuple[Engine, KeyFolder], tmp_path: Path
) -> None:
    engine, folder = site
    path = tmp_path / "audit.jsonl"
    export.export(engine, path, signer=folder.existing())
    lines = lines_of(path)
    other = KeyFolder(tmp_path / "other")
    other.signer(NOW)

    path.write_bytes(forged(lines, other))
    assert verify.verify_export(path).is_good
    signed = verify.verify_export(path, "", anchor(folder)).bad
    path.write_bytes(forged(lines, None))
    assert verify.verify_export(path).is_good
    unsigned = verify.verify_export(path, "", anchor(folder)).bad

    assert signed is not None
    assert (signed.kind, signed.segment, signed.line) == ("key", 1, 6)
    assert unsigned is not None
    assert (unsigned.kind, unsigned.segment) == ("signature", SEGMENTS)


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("UPDATE audit_seal SET signature = NULL, key_id = NULL WHERE segment = 2", "signature"),
        ("UPDATE audit_seal SET signature = NULL, key_id = NULL", "signature"),
        ("UPDATE audit_seal SET signature = previous_head WHERE segment = 2", "signature"),
        ("UPDATE audit_seal SET key_id = '0123456789abcdef' WHERE segment = 2", "key"),
    ],
)
def test_a_signature_taken_away_or_changed_in_the_database_is_named(
    engine: Engine, tmp_path: Path, statement: str, kind: str
) -> None:
    folder = signed_trail.folder(tmp_path)
    fill(engine, folder)
    with writing(engine) as connection:
        connection.execute(text(statement))

    bad = verify.verify(engine, "", folder.public()).bad

    assert bad is not None
    assert bad.kind == kind


def test_a_database_sealed_anew_with_another_key_is_found_by_the_folder(
    engine: Engine, tmp_path: Path
) -> None:
    folder = signed_trail.folder(tmp_path)
    fill(engine, folder, 1)
    with writing(engine) as connection:
        connection.execute(text("UPDATE audit_entry SET actor = 'nobody'"))
        connection.execute(text("DELETE FROM audit_seal"))
    seal.seal(engine, NOW, signer=KeyFolder(tmp_path / "forger").signer(NOW))

    assert verify.verify(engine).is_good
    bad = verify.verify(engine, "", folder.public()).bad
    assert bad is not None
    assert (bad.kind, bad.segment) == ("key", 1)


def test_after_a_rotation_the_first_key_still_proves_everything(
    engine: Engine, tmp_path: Path
) -> None:
    folder = signed_trail.folder(tmp_path)
    fill(engine, folder, 1)
    first = anchor(folder)
    for number in (1, 2):
        draft = folder.draft(NOW)
        with writing(engine) as connection:
            keys.register(connection, [draft.key])
        folder.use(draft)
        fill(engine, folder, 1, start=number)
    path = tmp_path / "audit.jsonl"
    export.export(engine, path, signer=folder.existing())

    result = verify.verify_export(path, "", first)

    assert (result.bad, result.signed, len(result.keys)) == (None, 3, 3)
    assert len(list(folder.path.glob("*.key"))) == 1
    assert verify.verify(engine, "", folder.public()).signed == 3
    with writing(engine) as connection:
        connection.execute(text("UPDATE audit_key SET endorsement = '' WHERE endorsement <> ''"))
    export.export(engine, path, signer=folder.existing())
    bad = verify.verify_export(path, "", first).bad
    assert bad is not None
    assert (bad.kind, bad.segment) == ("key", 2)


def test_seals_of_before_there_were_keys_stay_provable(engine: Engine, tmp_path: Path) -> None:
    folder = signed_trail.folder(tmp_path)
    fill(engine, None, 2)
    fill(engine, folder, 1, start=2)
    path = tmp_path / "audit.jsonl"
    export.export(engine, path, signer=folder.existing())

    assert verify.verify(engine, "", folder.public()).signed == 1
    result = verify.verify_export(path, "", anchor(folder))
    assert (result.bad, result.segments, result.signed) == (None, 3, 1)


def test_days_are_chosen_by_whole_segments(engine: Engine, tmp_path: Path) -> None:
    folder = signed_trail.folder(tmp_path)
    fill(engine, folder)
    path = tmp_path / "day.jsonl"

    made = export.export(engine, path, NOW.replace(day=11), NOW.replace(day=12))

    assert made == export.Exported(1, PER_SEGMENT)
    result = verify.verify_export(path, "", anchor(folder))
    assert result.is_good
    assert result.head.startswith("2:")


def test_an_older_backup_is_found_by_a_signed_head(engine: Engine, tmp_path: Path) -> None:
    folder = signed_trail.folder(tmp_path)
    fill(engine, folder, 2)
    old = tmp_path / "old.jsonl"
    export.export(engine, old, signer=folder.existing())
    fill(engine, folder, 1, start=2)
    with reading(engine) as connection:
        noted = seal.checkpoint(seal.last_seal(connection))

    bad = verify.verify_export(old, noted, anchor(folder)).bad
    assert bad is not None
    assert (bad.kind, bad.segment) == ("restored", 3)
    forged_head = noted[:-2] + ("00" if noted[-2:] != "00" else "01")
    bad = verify.verify_export(old, forged_head, anchor(folder)).bad
    assert bad is not None
    assert bad.kind == "signature"


def auditor(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The printed verifier, run by a bare Python: no packages, no environment, another folder."""
    command = [sys.executable, "-I", "-S", str(folder / "verify.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)


def test_an_auditor_proves_it_with_one_file_and_a_bare_python(
    exported: Path, site: tuple[Engine, KeyFolder], tmp_path: Path
) -> None:
    engine, folder = site
    (tmp_path / "verify.py").write_text(carnet("audit", "verifier").out)
    (tmp_path / "public.pem").write_text(folder.public()[0].pem())
    with reading(engine) as connection:
        noted = seal.checkpoint(seal.last_seal(connection))
    (tmp_path / "head.txt").write_text(noted + "\n")
    options = ("--key", "public.pem", "--head", "head.txt")

    good = auditor(tmp_path, str(exported), *options, "--json")
    assert good.returncode == 0, good.stderr
    said = json.loads(good.stdout)
    assert (said["good"], said["entries"], said["signed"]) == (True, ENTRIES, SEGMENTS)
    assert said["export_signed"] is True

    other = KeyFolder(tmp_path / "other")
    other.signer(NOW)
    (tmp_path / "public.pem").write_text(other.public()[0].pem())
    wrong = auditor(tmp_path, str(exported), "--key", "public.pem")
    assert (wrong.returncode, wrong.stdout) == (
        1, "NOT PROVED: key in segment 1, line 6 of the file\n",
    )  # fmt: skip
    shutil.copy(tmp_path / "verify.py", tmp_path / "no-export.jsonl")
    assert auditor(tmp_path, "no-export.jsonl").returncode == 2
    assert auditor(tmp_path, str(exported), "--key", "head.txt").returncode == 2
