"""Content at rest: sealed, bound to its row, erased with its key; keys rotated, older rows sealed. People are invented."""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy import create_engine, text

from broker import at_rest, encrypting, installation
from broker.database.engine import open_engine, reading, writing
from broker.database.schema import metadata
from broker.document import Patient
from broker.encryption import findable, key_rows, keyring, sealing
from broker.encryption.sealed import (
    ERASED,
    MAGIC,
    PATIENT,
    SEALED,
    FindKey,
    form_of,
    is_sealed,
    plain_of,
)
from broker.encryption.vault import Vault, hang, vault_of
from broker.errors import PermanentError, SetupError, TransientError
from broker.records import (
    account_moves,
    account_rows,
    bodies,
    content,
    identity_journal,
    message_detail,
    outbox,
    patients,
    payloads,
    sealing_older,
)
from broker.values import Lane, State
from tests.broker.identity_site import IPP, NIR, ONE_INS, OTHER_INS, a40, cx
from tests.broker.identity_site import adt as identity_adt
from tests.broker.lane_site import LaneSite, adt
from tests.broker.replay_site import mdm
from tests.queues.place import eventually

WORD = "Zzcanari"
PDF = b"%PDF-1.4 " + WORD.encode() * 3
WORDS = (
    WORD.encode(),
    base64.b64encode(PDF)[:20],
    base64.b64encode(WORD.encode()),
    WORD.encode().hex().encode(),
)


def quiet(_what: str, _n: int) -> None:
    return


@pytest.fixture
def nothing_is_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not sealed stands there to be seen: a frame would hide it from who looks for it."""
    monkeypatch.setattr(sealing, "PACK_FROM", 1 << 40)
    monkeypatch.setattr(sealing, "PACK_RECEIVED_FROM", 1 << 40)


@pytest.fixture(params=["sqlite", "postgresql"])
def plain_site(
    request: pytest.FixtureRequest, tmp_path: Path, nothing_is_packed: None
) -> Iterator[LaneSite]:
    """An installation that encrypts nothing yet."""
    url = f"sqlite:///{tmp_path / 'carnet.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_url")
    made = LaneSite(tmp_path, url)
    at_rest.attach(made.engine, made.settings)
    yield made
    made.close()


@pytest.fixture
def site(plain_site: LaneSite) -> LaneSite:
    """An installation that encrypts from the beginning."""
    ring = at_rest.place(plain_site.settings)
    keyring.make(Path(ring))
    at_rest.attach(plain_site.engine, plain_site.settings, plain_site.clock())
    return plain_site


def filed(site: LaneSite) -> list[str]:
    """Two patients with a letter and an attachment each, through gateway and worker."""
    pdf = base64.b64encode(PDF).decode()
    ids = site.receive(
        mdm("66001", "c1", "d1", "", pdf=pdf), mdm("66002", "c2", "d2", f"Lettre de {WORD} Deux"), adt("66003", "c3")
    )  # fmt: skip
    site.work()
    assert site.states(*ids) == ["filed"] * 3
    return list(ids)


def stored(site: LaneSite) -> dict[str, list[bytes]]:
    """Every value of the tables that hold content, as it is stored."""
    columns = {
        "document_payload": "payload",
        "message_body": "body",
        "attachment": "body",
        "reception": "bodies",
    }
    return {
        table: [bytes(row[0]) for row in site.rows(f"SELECT {column} FROM {table}")]
        for table, column in columns.items()
    }  # fmt: skip


def patient_of(site: LaneSite, message_id: str) -> int:
    (row,) = site.rows(
        "SELECT d.patient FROM document d WHERE d.message_seq = :seq", seq=site.detail(message_id).line.seq
    )  # fmt: skip
    return int(row.patient)


def document_of(site: LaneSite, message_id: str) -> str:
    (row,) = site.rows(
        "SELECT id FROM document WHERE message_seq = :seq", seq=site.detail(message_id).line.seq
    )
    return str(row.id)


def body_of(site: LaneSite, message_id: str) -> bytes | None:
    with reading(site.engine) as connection:
        return message_detail.body(connection, site.detail(message_id).line.seq)


def read_all(site: LaneSite, ids: list[str]) -> None:
    """Everything of `filed` can be read."""
    with reading(site.engine) as connection:
        names = [document_of(site, one) for one in ids]
        assert len(payloads.read(connection, names)) == len(ids)
        sha256 = hashlib.sha256(PDF).hexdigest()
        assert content.open(connection, patient_of(site, ids[0]), sha256) == PDF
    assert WORD.encode() in (body_of(site, ids[1]) or b"")


CANARY = (
    "CANARIOVA", "ZERBINETTE", "1931-07-09", "19310709", "QUAI DES SERINS", "0699887766", "C4NARY66777", ONE_INS, ONE_INS[:13],
)  # fmt: skip
"""Names, birth date, address, telephone and numbers of an invented patient."""


def canary(control_id: str, name: str = "CANARIOVA^ZERBINETTE") -> bytes:
    return (
        f"MSH|^~\\&|GAM|CHU|CARNET|CHU|20261123100000||ADT^A04|{control_id}|P|2.5|||||FRA|UNICODE UTF-8\r"
        f"EVN||20261123100000\rPID|||{cx('C4NARY66777', ONE_INS)}||{name}^^^^^L||19310709|F|||"
        f"7 QUAI DES SERINS^^NANTES^^44000^FRA||0699887766{'|' * 19}VALI\rPV1|1|O\r"
    ).encode()


def everything(site: LaneSite) -> Iterator[tuple[str, bytes]]:
    """Every value of every table: what a dump of the database holds."""
    for table in metadata.sorted_tables:
        for row in site.rows(f'SELECT * FROM "{table.name}"'):
            for column, value in row._mapping.items():
                if value is not None:
                    raw = (
                        bytes(value)
                        if isinstance(value, bytes | memoryview)
                        else str(value).encode()
                    )
                    yield f"{table.name}.{column}", raw


def write_to(site: LaneSite, patient: int, mail: str) -> None:
    """The holder gives an address."""
    with writing(site.engine) as connection:
        before = account_rows.load(connection, [patient])
        after = [replace(before[patient], mail=mail)]
        account_rows.store(connection, before, after, site.clock())


def mail_of(site: LaneSite, patient: int) -> str:
    with reading(site.engine) as connection:
        return account_rows.load(connection, [patient])[patient].mail


def test_who_a_patient_is_stands_nowhere_in_a_dump_of_the_database(site: LaneSite) -> None:
    (first,) = site.receive(canary("k1"))
    site.work()
    courier = site.courier()
    while (lease := site.queue.take("outbound.dmp", 50, timedelta())) is not None:
        courier.serve(lease, threading.Event())
    (again,) = site.receive(canary("k2", name="CANARIOVA^ZERBINETTE-ANNE"))
    site.work()

    assert site.states(first, again) == ["filed", "filed"]
    assert site.partner.taken == [canary("k1")]
    (row,) = site.rows("SELECT id, updated_at, created_at FROM patient")
    write_to(site, row.id, "canariova@example.org")
    told = [place for place, value in everything(site) if any(w.encode() in value for w in CANARY)]
    assert told == []
    assert [place for place, value in everything(site) if b"canariova" in value] == []
    assert mail_of(site, row.id) == "canariova@example.org"
    who = patients.traits_of(site.engine, row.id)
    assert who is not None
    assert who.names[0].family == "CANARIOVA"
    assert "ZERBINETTE-ANNE" in who.names[0].given
    assert row.updated_at > row.created_at
    with reading(site.engine) as connection:
        numbers = {(NIR, ONE_INS): row.id, (IPP, "C4NARY66777"): row.id}
        assert patients.find(connection, numbers) == numbers
        assert patients.ins_of(connection, [row.id]) == {row.id: [(NIR, ONE_INS)]}


def test_a_message_that_says_again_who_somebody_is_seals_nothing_anew(site: LaneSite) -> None:
    def row() -> tuple[object, ...]:
        (found,) = site.rows("SELECT traits, updated_at FROM patient")
        return bytes(found.traits), found.updated_at

    site.receive(canary("k1"))
    site.work()
    before = row()
    site.receive(canary("k2"))
    site.work()

    assert row() == before


def test_older_traits_are_sealed_and_forgotten_ones_are_nobody(plain_site: LaneSite) -> None:
    site = plain_site
    site.receive(canary("k1"), adt("66888", "k2"))
    site.work()
    assert [place for place, value in everything(site) if b"CANARIOVA" in value]
    first, second = (row.id for row in site.rows("SELECT id FROM patient ORDER BY id"))
    write_to(site, second, "older@example.org")
    encrypting.begin(site.engine, site.settings, site.act())
    at_rest.attach(site.engine, site.settings)
    encrypting.seal(site.engine, site.act(), quiet)

    assert [place for place, value in everything(site) if b"CANARIOVA" in value] == []
    assert [place for place, value in everything(site) if b"older@" in value] == []
    assert mail_of(site, second) == "older@example.org"
    with writing(site.engine) as connection:
        account_moves.forget(connection, [first], site.clock())
    assert patients.traits_of(site.engine, first) == Patient()
    who = patients.traits_of(site.engine, second)
    assert who is not None
    assert who.names


def test_no_word_of_a_document_stands_in_what_is_stored(site: LaneSite) -> None:
    site.receive(mdm("66009", "c9", "d9", f"Lettre de {WORD}"), to_queue=False)
    before = stored(site)
    assert before["reception"] or before["message_body"]

    ids = filed(site)

    everything = [
        value for values in (*before.values(), *stored(site).values()) for value in values
    ]
    assert len(everything) > 6
    assert not [value for value in everything if any(word in value for word in WORDS)]
    read_all(site, ids)
    assert site.prove().findings == []


@pytest.mark.usefixtures("nothing_is_packed")
def test_the_files_of_an_embedded_database_hold_no_word_of_a_document(tmp_path: Path) -> None:
    site = LaneSite(tmp_path, f"sqlite:///{tmp_path / 'carnet.db'}")
    at_rest.attach(site.engine, site.settings, site.clock())

    filed(site)

    files = [path for path in tmp_path.glob("carnet.db*") if path.is_file()]
    assert {path.name for path in files} >= {"carnet.db", "carnet.db-wal"}
    for path in files:
        assert not [word for word in WORDS if word in path.read_bytes()]
    assert (tmp_path / "keyring").stat().st_mode & 0o077 == 0
    site.close()


def test_a_body_that_was_exchanged_or_changed_is_parked_and_named(site: LaneSite) -> None:
    one, other, third = site.receive(
        adt("66011", "c1"), adt("66012", "c2"), adt("66013", "c3"), to_queue=False
    )
    seqs = [site.detail(message_id).line.seq for message_id in (one, other, third)]
    a, b, c = (
        bytes(site.rows("SELECT body FROM message_body WHERE seq = :n", n=n)[0].body) for n in seqs
    )
    for seq, body in zip(seqs, (b, a, c[:-1] + bytes([c[-1] ^ 1])), strict=True):
        site.spoil("UPDATE message_body SET body = :body WHERE seq = :n", body=body, n=seq)

    site.sweep()
    site.work()

    for message_id in (one, other, third):
        line = site.detail(message_id).line
        assert (line.state, line.reason) == (State.PARKED, "encryption.altered")
        with pytest.raises(PermanentError, match=r"encryption\.altered: message_body"):
            body_of(site, message_id)


def test_a_document_does_not_open_in_the_place_of_another(site: LaneSite) -> None:
    ids = filed(site)
    one, other = (document_of(site, message_id) for message_id in ids[:2])
    site.spoil(
        "UPDATE document_payload SET payload = (SELECT p.payload FROM document_payload p WHERE p.id = :other) "
        "WHERE id = :one", one=one, other=other,
    )  # fmt: skip

    with reading(site.engine) as connection:
        with pytest.raises(PermanentError, match=r"encryption\.altered: document_payload"):
            payloads.read(connection, [one])
        assert payloads.read(connection, [other])


@given(
    start=st.sampled_from([ERASED, SEALED, MAGIC, MAGIC + b"P", MAGIC + b"Z", b"MSH|", b""]),
    rest=st.binary(max_size=60),
    times=st.integers(1, 40),
    pack_from=st.integers(0, 2_000),
)
def test_whatever_a_value_begins_like_and_however_long_its_form_holds_it(
    start: bytes, rest: bytes, times: int, pack_from: int
) -> None:
    plain = start + rest * times

    form = form_of(plain, pack_from)

    assert plain_of(b"message_body", form) == plain
    assert not is_sealed(form)
    assert len(form) <= len(plain) + len(MAGIC) + 1


def test_older_rows_are_read_and_sealed_from_where_it_stopped(
    plain_site: LaneSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = plain_site
    ids = filed(site)
    blob = site.rows("SELECT patient, sha256, body FROM attachment")[0]
    site.spoil("DELETE FROM attachment")  # as the version before kept it
    site.spoil(
        "INSERT INTO content (sha256, sha1, size, body) VALUES (:sha, :sha1, 1, :body)",
        sha=bytes(blob.sha256), sha1=b"", body=bytes(blob.body),
    )  # fmt: skip
    with pytest.raises(SetupError, match="nothing is encrypted yet"):
        encrypting.seal(site.engine, site.act(), quiet)
    encrypting.begin(site.engine, site.settings, site.act())
    at_rest.attach(site.engine, site.settings)
    read_all(site, ids)
    monkeypatch.setattr(sealing_older, "AT_ONCE", 1)
    stop = threading.Event()

    first = encrypting.seal(site.engine, site.act(), lambda *_: stop.set(), stop.is_set)
    second = encrypting.seal(site.engine, site.act(), quiet)

    assert (first["document_payload"], second["document_payload"]) == (1, 2)
    assert second["message_body"] == 3
    with reading(site.engine) as connection:
        counted = sealing_older.counts(connection)
    assert {table: one["plain"] for table, one in counted.items()} == dict.fromkeys(counted, 0)
    assert (counted["document_payload"]["sealed"], counted["message_body"]["sealed"]) == (3, 3)
    assert (counted["attachment"]["sealed"], counted["content"]["sealed"]) == (1, 0)
    read_all(site, ids)
    acts = [
        row.act for row in site.rows("SELECT act FROM audit_entry WHERE actor = 'jd' ORDER BY n")
    ]
    assert acts == ["encryption_key", "content_sealed", "content_sealed"]


def test_a_rotation_wraps_every_key_again_and_the_old_master_key_is_needed_no_more(
    site: LaneSite,
) -> None:
    ids = filed(site)
    before, path = stored(site), Path(at_rest.place(site.settings))
    with reading(site.engine) as connection:
        (old,) = key_rows.needed(connection)
    encrypting.add_key(site.settings)

    done = encrypting.rotate(site.engine, site.settings, site.act(), quiet)

    assert done.retired == (old,)
    assert done.keys == 5
    assert stored(site) == before
    path.write_text(
        "\n".join(line for line in path.read_text().splitlines() if not line.startswith(old))
    )
    at_rest.attach(site.engine, site.settings)
    read_all(site, ids)
    again = encrypting.rotate(site.engine, site.settings, site.act(), quiet)
    assert (again.master, again.keys) == (done.master, 0)


def test_a_process_at_work_takes_up_a_rotation_by_itself(site: LaneSite) -> None:
    filed(site)
    encrypting.add_key(site.settings)
    done = encrypting.rotate(site.engine, site.settings, site.act(), quiet)

    (late,) = site.receive(adt("66044", "c44"))
    site.work()

    assert site.state(late) == State.FILED
    masters = site.rows("SELECT DISTINCT master FROM data_key")
    assert [row.master for row in masters] == [done.master]


def test_nothing_starts_nor_is_lost_without_the_keyring(site: LaneSite) -> None:
    ids = filed(site)
    path = Path(at_rest.place(site.settings))
    hidden = path.rename(path.with_name("hidden"))

    with pytest.raises(SetupError, match=r"encryption\.keyring"):
        at_rest.attach(site.engine, site.settings)
    late = site.receive(adt("66044", "c44"))
    fresh = open_engine(site.url)
    vault = Vault(lambda: None, seals=False)
    hang(fresh, vault)
    with (
        reading(fresh) as connection,
        pytest.raises(TransientError, match=r"encryption\.key_missing"),
    ):
        message_detail.body(connection, site.detail(ids[1]).line.seq)
    fresh.dispose()
    hidden.rename(path)
    site.work()
    assert site.states(*late) == ["filed"]


def test_a_line_of_the_keyring_that_was_changed_is_named_and_not_shown(site: LaneSite) -> None:
    path = Path(at_rest.place(site.settings))
    spoiled = path.read_text().rstrip()[:-1] + "x"
    path.write_text(spoiled)

    with pytest.raises(SetupError, match=r"encryption\.keyring: .*line 3") as caught:
        at_rest.attach(site.engine, site.settings)

    assert spoiled.split()[-1] not in str(caught.value)


def test_erased_content_cannot_be_read_from_the_tables_of_before(site: LaneSite) -> None:
    ids = filed(site)
    patient, document = patient_of(site, ids[1]), document_of(site, ids[1])
    (kept,) = site.rows("SELECT payload FROM document_payload WHERE id = :id", id=document)

    with writing(site.engine) as connection:
        account_moves.erase(connection, [patient], site.clock())
    site.spoil(
        "INSERT INTO document_payload (id, encoding, payload) VALUES (:id, 'sealed', :payload)",
        id=document, payload=bytes(kept.payload),
    )  # fmt: skip

    with (
        reading(site.engine) as connection,
        pytest.raises(PermanentError, match=r"encryption\.erased"),
    ):
        payloads.one(connection, document)
    with pytest.raises(PermanentError, match=r"encryption\.erased: message_body"):
        body_of(site, ids[1])
    assert (
        site.rows(
            "SELECT wrapped FROM data_key WHERE kind = :k AND owner = :o", k=PATIENT, o=patient
        )[0].wrapped
        is None
    )
    assert site.detail(ids[1]).line.state == State.FILED
    assert site.prove().findings == []
    with reading(site.engine) as connection:
        others = [document_of(site, ids[0]), document_of(site, ids[2])]
        assert len(payloads.read(connection, others)) == 2


def test_a_message_that_comes_again_after_an_erasure_is_sealed_under_a_new_key(
    site: LaneSite,
) -> None:
    ids = filed(site)
    patient = patient_of(site, ids[1])
    with writing(site.engine) as connection:
        account_moves.erase(connection, [patient], site.clock())

    (later,) = site.receive(mdm("66002", "c22", "d22", f"Lettre de {WORD} encore"))
    site.work()

    assert patient_of(site, later) == patient
    with reading(site.engine) as connection:
        assert payloads.read(connection, [document_of(site, later)])
        made = key_rows.of_owners(connection, PATIENT, [patient])[0]
    assert [(one.number.generation, one.secret is None) for one in made] == [(1, True), (2, False)]


def test_two_processes_that_make_a_key_for_one_patient_end_with_one(site: LaneSite) -> None:
    if site.engine.dialect.name == "sqlite":
        pytest.skip("one writer at a time")
    filed(site)
    other = open_engine(site.url)
    at_rest.attach(other, site.settings)
    ready, made = threading.Event(), {}

    def second() -> None:
        ready.wait(30)
        with writing(other) as connection:
            vault = vault_of(connection)
            assert vault is not None
            made["second"] = vault.of_patients(connection, [1, 7, 8])

    thread = threading.Thread(target=second)
    thread.start()
    with writing(site.engine) as connection:
        vault = vault_of(connection)
        assert vault is not None
        made["first"] = vault.of_patients(connection, [7, 8, 9])
        ready.set()
        thread.join(0.5)
    thread.join(30)
    other.dispose()

    for patient in (7, 8):
        sealed = made["first"][patient].seal(b"t\0x", b"letter")
        assert made["second"][patient].open(b"t\0x", sealed) == b"letter"


def test_a_replay_of_an_erased_message_says_so(site: LaneSite) -> None:
    ids = filed(site)
    with writing(site.engine) as connection:
        account_moves.erase(connection, [patient_of(site, ids[1])], site.clock())
    seq = site.detail(ids[1]).line.seq

    with reading(site.engine) as connection:
        found = bodies.read(connection, [seq])

    assert isinstance(found[seq], PermanentError)
    assert found[seq].code == "encryption.erased"


def test_what_was_rendered_for_a_delivery_is_sealed(site: LaneSite) -> None:
    ids = filed(site)
    (owed,) = site.rows(
        "SELECT id, lane FROM delivery WHERE message_seq = :n", n=site.detail(ids[0]).line.seq
    )
    with writing(site.engine) as connection:
        ((number, media, kept),) = outbox.sealed_rendering(
            connection, [(owed.id, "text/plain", owed.lane, WORD.encode())], site.now.year * 12
        )
        connection.execute(
            text("INSERT INTO prepared (delivery_id, media, body) VALUES (:n, :media, :body)"),
            {"n": number, "media": media, "body": kept},
        )
    assert WORD.encode() not in kept
    with reading(site.engine) as connection:
        due = outbox.Due(number, owed.lane, 1, site.now, 0, "", "dmp")
        assert outbox.bodies_of(connection, [due]) == {number: (WORD.encode(), "text/plain")}


# --- what patients are found by --------------------------------------------------------------------------------------


@given(value=st.text(), system=st.text(max_size=20), other=st.text(max_size=20))
@example(value=findable.SEALED, system="s", other="t")
@example(value=findable.MARK + "Px", system="s", other="t")
@example(value="", system="", other="t")
def test_a_value_that_is_looked_for_is_always_sealed_the_same_and_only_where_it_belongs(
    value: str, system: str, other: str
) -> None:
    engine = create_engine("sqlite://")
    with engine.connect() as plain:
        pair = (system, value)
        assert findable.opened(
            plain, b"t", [(system, findable.stored(plain, b"t", [pair])[pair])]
        ) == [value]
    vault = Vault(lambda: None, seals=True)
    vault.find_key = FindKey(b"k" * 32)
    hang(engine, vault)
    with engine.connect() as connection:
        text_ = findable.stored(connection, b"t", [pair])[pair]

        assert findable.stored(connection, b"t", [pair])[pair] == text_
        assert findable.opened(connection, b"t", [(system, text_)]) == [value]
        assert findable.forms(connection, b"t", [pair])[system, text_] == pair
        assert findable.is_sealed(text_)
        for table, of in ((b"t", other), (b"u", system)):
            if (table, of) != (b"t", system):
                assert findable.stored(connection, table, [(of, value)])[of, value] != text_
                with pytest.raises(PermanentError, match=r"encryption\.altered: t|u"):
                    findable.opened(connection, table, [(of, text_)])
    engine.dispose()


def test_numbers_that_change_hands_stand_nowhere_and_are_told_to_who_may_ask(
    site: LaneSite,
) -> None:
    """Merged, renumbered and un-merged; the journal tells which numbers, and a dump does not."""
    ids = site.receive(
        identity_adt("A04^ADT_A01", "m1", cx("C4NARY-A", ONE_INS), more="PV1|1|O\r"),
        identity_adt("A04^ADT_A01", "m2", cx("C4NARY-B"), more="PV1|1|O\r"),
        identity_adt("A47^ADT_A30", "m3", cx("C4NARY-A", OTHER_INS), prior=cx("", ONE_INS)),
        a40("m4", cx("C4NARY-A"), cx("C4NARY-B")),
    )
    site.work()

    assert site.states(*ids) == ["filed", "filed", "delivered_only", "delivered_only"]
    words = ("C4NARY", ONE_INS[:13], OTHER_INS[:13])
    assert [p for p, value in everything(site) if any(w.encode() in value for w in words)] == []
    with reading(site.engine) as connection:
        found = patients.find(connection, [(IPP, "C4NARY-A"), (IPP, "C4NARY-B"), (NIR, OTHER_INS)])
        told = identity_journal.history(connection, sorted(set(found.values())))
        assert (NIR, ONE_INS) not in patients.find(connection, [(NIR, ONE_INS)])
    assert found[IPP, "C4NARY-A"] == found[NIR, OTHER_INS] != found[IPP, "C4NARY-B"]
    by_kind = {event.kind: event.details for event in told}
    assert by_kind["renumber"]["removed"] == [[NIR, ONE_INS]]
    assert by_kind["renumber"]["added"] == [[NIR, OTHER_INS]]


def test_older_numbers_are_found_before_and_after_they_are_sealed(
    plain_site: LaneSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = plain_site
    wanted = {(IPP, f"C4NARY{n}") for n in range(5)} | {(NIR, ONE_INS)}
    site.receive(*(canary_numbered(n) for n in range(5)))
    site.receive(identity_adt("A47^ADT_A30", "r1", cx("C4NARY0", ONE_INS), prior=cx("C4NARY0")))
    site.work()
    with reading(site.engine) as connection:
        before = patients.find(connection, wanted)
        events = identity_journal.history(connection, set(before.values()))
    assert before.keys() == wanted
    encrypting.begin(site.engine, site.settings, site.act())
    at_rest.attach(site.engine, site.settings)
    monkeypatch.setattr(sealing_older, "AT_ONCE", 2)

    site.receive(*(canary_numbered(n, again="x") for n in range(5)), canary_numbered(7))
    site.work()
    with reading(site.engine) as connection:
        assert patients.find(connection, wanted) == before, "nobody is taken for unknown"
    encrypting.seal(site.engine, site.act(), quiet)

    assert [place for place, value in everything(site) if b"C4NARY" in value] == []
    with reading(site.engine) as connection:
        assert patients.find(connection, wanted) == before
        assert identity_journal.history(connection, set(before.values())) == events
        assert len(patients.find(connection, [(IPP, "C4NARY7")])) == 1
        assert sealing_older.counts(connection)["patient_identifier"]["plain"] == 0
        assert sealing_older.counts(connection)["identity_event"]["plain"] == 0
    assert [row.n for row in site.rows("SELECT count(*) AS n FROM patient")] == [6]


def test_the_ins_that_left_is_sealed_later_too_and_goes_with_the_record(
    plain_site: LaneSite,
) -> None:
    site = plain_site
    (one,) = site.receive(adt("1", "A1"))
    site.work()
    seq, pair = site.detail(one).line.seq, ("1.2.250.1.213.1.4.8", ONE_INS)
    owed = outbox.Owed(seq, None, "mail", Lane(1), "new", "text/plain", b"x", ins_used=pair)
    with writing(site.engine) as connection:
        (number,) = outbox.owe(connection, [owed], site.now)
    encrypting.begin(site.engine, site.settings, site.act())
    at_rest.attach(site.engine, site.settings)
    with reading(site.engine) as connection:
        assert sealing_older.counts(connection)["delivery"]["plain"] == 1
        assert outbox.ins_used(connection, [number]) == {number: pair}

    passed = encrypting.seal(site.engine, site.act(), quiet)

    assert passed["delivery"] == 1
    assert [place for place, value in everything(site) if ONE_INS.encode() in value] == []
    with reading(site.engine) as connection:
        assert sealing_older.counts(connection)["delivery"] == {
            "sealed": 1,
            "erased": 0,
            "plain": 0,
        }
        assert outbox.ins_used(connection, [number]) == {number: pair}
    with writing(site.engine) as connection:
        bodies.erase(connection, [seq])
        assert outbox.ins_used(connection, [number]) == {}


def test_a_process_from_before_the_key_takes_nobody_for_unknown(plain_site: LaneSite) -> None:
    """Encryption begins; one process is started again and seals a new number; the other has not heard of it yet."""
    site = plain_site
    other = open_engine(site.url)
    at_rest.attach(other, site.settings)
    encrypting.begin(site.engine, site.settings, site.act())
    at_rest.attach(site.engine, site.settings)
    (first,) = site.receive(canary_numbered(1))
    site.work()
    assert site.states(first) == ["filed"]

    with reading(other) as connection:
        found = patients.find(connection, [(IPP, "C4NARY1"), (IPP, "C4NARY2")])

    assert list(found) == [(IPP, "C4NARY1")]
    other.dispose()


def test_an_installation_that_encrypted_before_goes_on_in_clear_until_it_is_told(
    site: LaneSite,
) -> None:
    """Processes of the version before still run during an upgrade: they find numbers as they stood."""
    site.spoil("DELETE FROM data_key WHERE kind = 3")
    site.spoil("DELETE FROM counter WHERE name = 'find key'")
    site.spoil("UPDATE schema_floor SET revision = '0014'")
    at_rest.attach(site.engine, site.settings)
    site.receive(canary_numbered(1))
    site.work()
    assert [row.value for row in site.rows("SELECT value FROM patient_identifier")] == ["C4NARY1"]

    encrypting.seal(site.engine, site.act(), quiet)

    assert [row.revision for row in site.rows("SELECT revision FROM schema_floor")] == ["0017"]
    (row,) = site.rows("SELECT value FROM patient_identifier")
    assert row.value.startswith(findable.SEALED)
    site.receive(canary_numbered(1, again="x"), canary_numbered(2))
    site.work()
    assert [place for place, value in everything(site) if b"C4NARY" in value] == []
    assert [row.n for row in site.rows("SELECT count(*) AS n FROM patient")] == [2]


def test_a_key_that_was_lost_takes_nobody_for_unknown(site: LaneSite) -> None:
    """`data_key` restored from before the numbers were sealed: nothing starts, and nobody is created anew."""
    site.receive(canary_numbered(1))
    site.work()
    site.spoil("DELETE FROM data_key WHERE kind = 3")
    (late,) = site.receive(canary_numbered(1, again="x"))
    fresh = open_engine(site.url)
    hang(fresh, Vault(partial(installation.master_keys, site.settings), seals=True))

    with pytest.raises(SetupError, match=r"encryption\.altered: data_key.*newer backup"):
        at_rest.attach(site.engine, site.settings)
    with pytest.raises(PermanentError, match=r"encryption\.altered: data_key"):
        encrypting.seal(site.engine, site.act(), quiet)
    with reading(fresh) as connection, pytest.raises(PermanentError, match=r"encryption\.altered"):
        patients.find(connection, [(IPP, "C4NARY1")])
    fresh.dispose()
    assert site.states(late) == ["received"]
    assert [row.n for row in site.rows("SELECT count(*) AS n FROM patient")] == [1]


@pytest.mark.parametrize("content", [None, "", "half a lin"])
def test_a_process_without_the_keyring_waits_for_it_and_parks_nothing(
    plain_site: LaneSite, content: str | None
) -> None:
    """`init` was run where the keyring is; the keyring is being copied to where this process runs."""
    site = plain_site
    path = Path(at_rest.place(site.settings))
    encrypting.begin(site.engine, site.settings, site.act())
    whole = path.read_text()
    path.unlink()
    if content is not None:
        path.write_text(content)
    (late,) = site.receive(canary_numbered(1))

    seq = site.detail(late).line.seq

    with pytest.raises(TransientError, match=r"encryption\.key_missing"):
        site.pipeline.process([seq])
    assert site.states(late) == ["received"]

    path.write_text(whole)
    site.pipeline.process([seq])
    assert site.states(late) == ["filed"]


def test_a_rotation_asks_for_no_newer_version_where_numbers_stand_in_clear(site: LaneSite) -> None:
    site.spoil("DELETE FROM data_key WHERE kind = 3")
    site.spoil("DELETE FROM counter WHERE name = 'find key'")
    site.spoil("UPDATE schema_floor SET revision = '0014'")
    at_rest.attach(site.engine, site.settings)
    encrypting.add_key(site.settings)

    encrypting.rotate(site.engine, site.settings, site.act(), quiet)

    assert [row.revision for row in site.rows("SELECT revision FROM schema_floor")] == ["0014"]


@pytest.mark.parametrize("stored_", ["x", "abcd", "éé", base64.b64encode(SEALED).decode()])
def test_what_the_journal_tells_and_was_altered_is_named(site: LaneSite, stored_: str) -> None:
    site.receive(
        identity_adt("A04^ADT_A01", "m1", cx("A"), more="PV1|1|O\r"),
        identity_adt("A47^ADT_A30", "m2", cx("B"), prior=cx("A")),
    )
    site.work()
    site.spoil("UPDATE identity_event SET details = :v", v=stored_)
    (row,) = site.rows("SELECT n FROM identity_event")

    with (
        reading(site.engine) as connection,
        pytest.raises(PermanentError, match=r"encryption\.altered: identity_event"),
    ):
        identity_journal.event(connection, row.n)


def test_a_number_that_is_taken_or_given_back_while_it_is_sealed_is_still_meant(
    postgres_url: str, tmp_path: Path
) -> None:
    """The writer waits for the row that is being sealed, and changes it then."""
    site = LaneSite(tmp_path, postgres_url)
    at_rest.attach(site.engine, site.settings)
    site.receive(canary_numbered(1), canary_numbered(2), canary_numbered(3))
    site.work()
    encrypting.begin(site.engine, site.settings, site.act())
    at_rest.attach(site.engine, site.settings)
    one, two, three = ((IPP, f"C4NARY{n}") for n in (1, 2, 3))
    with reading(site.engine) as connection:
        owners = patients.find(connection, [one, two, three])
    began = threading.Event()

    def change() -> None:
        with writing(site.engine) as connection:
            began.set()
            identity_journal.take_keys(connection, [one])
            patients.give_keys(connection, {two: owners[three]})

    with writing(site.engine) as connection:
        sealing_older.identifiers(connection)
        changing = threading.Thread(target=change)
        changing.start()
        began.wait(10)
        waits = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        assert eventually(lambda: bool(site.rows(waits)))
    changing.join(30)

    with reading(site.engine) as connection:
        found = patients.find(connection, [one, two, three])
    assert found == {two: owners[three], three: owners[three]}
    assert all(findable.is_sealed(row.value) for row in site.rows("SELECT value FROM patient_identifier"))  # fmt: skip
    site.close()


def test_a_number_that_was_added_in_clear_behind_the_sealing_is_sealed_by_the_next_run(
    plain_site: LaneSite,
) -> None:
    site = plain_site
    site.receive(canary_numbered(1), canary_numbered(2))
    site.work()
    encrypting.begin(site.engine, site.settings, site.act())
    at_rest.attach(site.engine, site.settings)
    encrypting.seal(site.engine, site.act(), quiet)
    site.spoil(
        "INSERT INTO patient_identifier (system, value, patient, kind, since) "
        "SELECT system, 'C4NARY9', patient, kind, since FROM patient_identifier LIMIT 1"
    )

    encrypting.seal(site.engine, site.act(), quiet)

    with reading(site.engine) as connection:
        assert sealing_older.counts(connection)["patient_identifier"] == {
            "sealed": 3, "plain": 0, "erased": 0,
        }  # fmt: skip
        assert len(patients.find(connection, [(IPP, "C4NARY9")])) == 1


def test_a_number_in_both_forms_goes_once_when_both_are_one_person(plain_site: LaneSite) -> None:
    site = plain_site
    site.receive(canary_numbered(1), canary_numbered(2), a40("m", cx("C4NARY1"), cx("C4NARY2")))
    site.work()
    encrypting.begin(site.engine, site.settings, site.act())
    at_rest.attach(site.engine, site.settings)
    with reading(site.engine) as connection:
        stored_ = findable.stored(connection, patients.IDENTIFIER, [(IPP, "C4NARY1")])
    site.spoil(
        "INSERT INTO patient_identifier (system, value, patient, kind, since) "
        "SELECT system, :v, patient, kind, since FROM patient_identifier WHERE value = 'C4NARY2'",
        v=stored_[IPP, "C4NARY1"],
    )

    encrypting.seal(site.engine, site.act(), quiet)

    with reading(site.engine) as connection:
        counted = sealing_older.counts(connection)["patient_identifier"]
    assert counted == {"sealed": 2, "plain": 0, "erased": 0}


def test_two_who_were_given_one_number_at_once_both_stay_for_a_person_to_look_at(
    plain_site: LaneSite,
) -> None:
    site = plain_site
    site.receive(canary_numbered(1), canary_numbered(2))
    site.work()
    encrypting.begin(site.engine, site.settings, site.act())
    at_rest.attach(site.engine, site.settings)
    with reading(site.engine) as connection:
        found = patients.find(connection, [(IPP, "C4NARY1"), (IPP, "C4NARY2")])
        text_ = findable.stored(connection, patients.IDENTIFIER, [(IPP, "C4NARY1")])
    site.spoil(
        "UPDATE patient_identifier SET value = :v WHERE value = 'C4NARY2'",
        v=text_[IPP, "C4NARY1"],
    )

    encrypting.seal(site.engine, site.act(), quiet)

    with reading(site.engine) as connection:
        assert patients.find(connection, [(IPP, "C4NARY1")]) == {
            (IPP, "C4NARY1"): found[IPP, "C4NARY2"]
        }
        counted = sealing_older.counts(connection)["patient_identifier"]
    assert counted == {"sealed": 1, "plain": 1, "erased": 0}


def canary_numbered(n: int, again: str = "") -> bytes:
    return identity_adt("A04^ADT_A01", f"n{n}{again}", cx(f"C4NARY{n}"), more="PV1|1|O\r")
