"""The chapters of the story, in their order. Each tells what happened and keeps what was not as promised.

The rules it shows, by their ids: T1 to T12 (life-cycle), CON-02 (care team), NOT-01, MAT-08 (the press example of
2022), AUD-07 (nothing of what is hidden), EMG-01 and EMG-04, ACC-05, RET-02, RET-05.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

from broker import app
from broker.access import Viewer
from broker.accounts.days import PARIS
from broker.cli import consent
from broker.cli.story_cast import (
    ADMISSION,
    BIOLOGY,
    DISCHARGE,
    FEET,
    GENERAL,
    HOSPITAL,
    IMAGING,
    PHYSICIAN,
    PODIATRIST,
    REGULATOR,
    SAMU,
    TRAITANT,
    Cast,
    ins,
    registration,
    sample,
)
from broker.records import consents, reading
from broker.records.account_moves import By
from broker.records.consents import Said

REASON = "found unconscious in the street"
MAIL, SECURE_MAIL = "elodie@example.org", "a.saule@medecin.example"
_MINUTE = timedelta(minutes=1)
_NOWHERE = "00000000-0000-7000-8000-000000000000"
_FOUND, _REFUSED, _ABSENT = 200, 400, 404


def letter(cast: Cast, folder: Path) -> None:
    """T1: registered and informed; the six weeks count from the sending."""
    cast.send(registration(folder))
    cast.patient = reading.find_patient(cast.ledger.engine, "ins", ins()) or 0
    now = cast.site.clock()
    app.accounts_of(cast.ledger.settings, cast.ledger.engine).inform(
        [cast.patient], By("insurer", channel="online"), now, mail=MAIL, language="en"
    )
    cast.told.expect(cast.sent("informed"), "the letter did not go out")
    opens = cast.space().due.get("T3", now)
    one = cast.told.chapter("A letter: a space will be opened", now)
    one.say("A person is registered, and told by mail that a space will be opened for them.")
    one.say(
        f"Six weeks begin with the sending: they may say no up to the end of {(opens - _MINUTE).astimezone(PARIS):%Y-%m-%d}."
    )
    one.look(f"account show --patient {cast.patient}")
    one.look(f"notices list --patient {cast.patient}")


def waiting(cast: Cast) -> None:
    """What comes within the six weeks waits; on day 42 the space is still closed."""
    cast.site.pass_to(cast.day(20))
    cast.send(sample("04-oru-utf8.hl7"))
    one = cast.told.chapter("Results come while nobody has answered", cast.site.clock())
    cast.told.expect(cast.waiting() == 1, "the laboratory's results did not wait")
    one.say("A laboratory sends results. They are acknowledged, and wait: there is no record yet.")
    cast.site.pass_to(cast.space().due["T3"] - _MINUTE)
    cast.told.expect(cast.space().state == "informed", "the space was opened before its day")
    one.say("One minute before midnight of day 42 nothing is open.")
    one.look("messages list")


def opening(cast: Cast) -> None:
    """T3: silence opens it, by itself, and what waited is filed."""
    cast.site.pass_to(cast.space().due["T3"] + _MINUTE)
    is_open = cast.site.until(lambda: cast.space().state == "open_unactivated")
    cast.told.expect(is_open, "the space was not opened by silence")
    cast.told.expect(cast.sent("opened"), "the holder was not told of the opening")
    done = cast.site.settled(cast.ledger, cast.received)
    cast.told.expect(done and not cast.waiting(), "what waited was not filed")
    one = cast.told.chapter("Six weeks of silence: the space opens", cast.site.clock())
    one.say("The scheduler opens it by itself on day 43, and tells the holder.")
    one.say("What waited is filed, in its order, without anybody touching it.")
    one.look(f"account show --patient {cast.patient}")


def reports(cast: Cast) -> None:
    """Hospital, laboratory and radiology: filed automatically, each in its own format."""
    cast.site.pass_to(cast.day(44))
    for name, source in (
        (ADMISSION, "hospital"),
        ("07-oru-cda-biology.hl7", "hospital"),
        ("08-mdm-t02-discharge.hl7", "hospital"),
        ("10-cda-imaging.xml", "portal"),
    ):
        cast.send(sample(name), source)
    cast.enter("patient", cast.issuers.patient(ins()))
    shown = cast.documents("patient")
    for code in (DISCHARGE, IMAGING, BIOLOGY):
        cast.told.expect(code in shown.values(), f"the patient is not shown the report {code}")
    cast.discharge = next((one for one, code in shown.items() if code == DISCHARGE), "")
    one = cast.told.chapter("Hospital, laboratory, radiology", cast.site.clock())
    one.say("The hospital admits (ADT) and writes a discharge report (MDM with a CDA),")
    one.say("the laboratory reports (ORU with a CDA), radiology reports (CDA with a PDF, by HTTP).")
    one.say(f"All of it is in the one record; the patient lists {len(shown)} documents.")
    one.look("status")
    one.look(f"record list --as patient:{cast.patient} --patient {cast.patient}")


def physician(cast: Cast) -> None:
    """CON-02, NOT-01: a physician of the care team reads, and the patient is told."""
    cast.site.pass_to(cast.day(45))
    token = cast.issuers.professional(PHYSICIAN, "Claire", "MARRONNIER", GENERAL, HOSPITAL)
    cast.enter("physician", token)
    seen = cast.documents("physician")
    body = cast.content("physician", cast.discharge)
    cast.told.expect(cast.discharge in seen, "the physician does not see the discharge report")
    cast.told.expect(bool(body), "the physician cannot open the discharge report")
    cast.told.expect(cast.sent("first_access"), "the patient was not told of the first access")
    looked = cast.looked()
    cast.told.expect("Claire MARRONNIER" in looked, "the patient does not see who looked")
    one = cast.told.chapter("A physician of the hospital reads", cast.site.clock())
    one.say("At admission the patient consented to the care team; the physician belongs to it.")
    one.say(f"She lists {len(seen)} documents and opens the discharge report ({len(body)} bytes).")
    one.say("It is her first access: the patient gets a mail at once, and sees who it was.")
    one.look(f"patient show --patient {cast.patient}")
    one.look(f"decide --document {cast.discharge} --as physician,structure={HOSPITAL}")


def podiatrist(cast: Cast) -> None:
    """MAT-08, AUD-07: neither the discharge report nor a sign of it, even with consent."""
    token = cast.issuers.professional(PODIATRIST, "Paul", "OSIER", FEET, "CABINET_DEMO")
    cast.enter("podiatrist", token, X_Carnet_Consent="explicit")
    answer, seen = cast.search("podiatrist"), cast.documents("podiatrist")
    api = cast.people["podiatrist"]
    hidden = api.get(f"DocumentReference/{cast.discharge}")
    nothing = api.get(f"DocumentReference/{_NOWHERE}")
    cast.told.expect(bool(seen), "the podiatrist sees nothing at all")
    cast.told.expect(
        cast.discharge not in answer.text and DISCHARGE not in seen.values(),
        "the podiatrist sees the discharge report",
    )
    cast.told.expect("total" not in answer.json(), "the podiatrist is told a count")
    cast.told.expect(
        (hidden.status_code, hidden.text) == (_ABSENT, nothing.text),
        "what is hidden is answered otherwise than what does not exist",
    )
    rule, sentence = cast.decided(
        Viewer(kind="professional", id=PODIATRIST, profession="G15_80", consent="explicit")
    )
    cast.told.expect(rule.startswith("MAT-"), "the decision does not name a rule of the matrix")
    one = cast.told.chapter("A podiatrist, whom the patient lets in", cast.site.clock())
    one.say(f"He lists {len(seen)} documents. The discharge report is not among them:")
    one.say(
        "no line, no count; asked for by its id it is 404, letter for letter like a made-up id."
    )
    one.say(f"The operator is told why, by rule {rule}: {sentence}")
    one.look(f"decide --document {cast.discharge} --as podiatrist,consent=explicit", 1)
    one.look(f"record list --as podiatrist,consent=explicit --patient {cast.patient}")


def emergency(cast: Cast) -> None:
    """EMG-01, EMG-04: bris de glace with a typed reason; holder and médecin traitant are told."""
    cast.site.pass_to(cast.day(46))
    now = cast.site.clock()
    consent.note(
        cast.ledger,
        cast.patient,
        "médecin traitant",
        Said("holder", "online", now),
        lambda connection, number, said: consents.traitant(
            connection, number, TRAITANT, said, SECURE_MAIL
        ),
    )
    token = cast.issuers.professional(REGULATOR, "Nadia", "TREMBLE", GENERAL, SAMU)
    cast.enter("stranger", token)
    cast.enter("hasty", token, X_Carnet_Mode="bris_de_glace")
    glass = {"X_Carnet_Mode": "bris_de_glace", "X_Carnet_Reason": quote(REASON)}
    cast.enter("emergency", token, **glass)
    cast.told.expect(not cast.documents("stranger"), "a physician without consent sees the record")
    refused = cast.search("hasty").status_code
    cast.told.expect(refused == _REFUSED, "bris de glace was possible without a reason")
    seen = cast.documents("emergency")
    cast.told.expect(cast.discharge in seen, "bris de glace does not open the record")
    for kind, whom in (("emergency_access", "holder"), ("emergency_traitant", "médecin traitant")):
        cast.told.expect(cast.sent(kind), f"the {whom} was not told of the emergency access")
    one = cast.told.chapter("An emergency, far from the care team", now)
    one.say("A physician of the SAMU has no consent: to her the record is empty.")
    one.say("Bris de glace without a reason is refused; with one typed the record opens,")
    one.say(f"and she lists {len(seen)} documents. Two people are told at once:")
    one.say("the holder by mail, the declared médecin traitant by secure health mail (EMG-04).")
    one.look(f"notices list --patient {cast.patient}")
    one.look(f"decide --document {cast.discharge} --as physician,mode=bris_de_glace --motive coma")


def block(cast: Cast) -> None:
    """ACC-05: the patient blocks the physician, who is refused from the next request on."""
    consent.note(
        cast.ledger,
        cast.patient,
        "block",
        Said("holder", "online", cast.site.clock()),
        lambda connection, number, said: consents.block(connection, number, PHYSICIAN, True, said),
    )
    answer = cast.people["physician"].get(f"DocumentReference/{cast.discharge}")
    cast.told.expect(
        not cast.documents("physician"), "the blocked physician still lists the record"
    )
    cast.told.expect(answer.status_code == _ABSENT, "the blocked physician still reads")
    rule, sentence = cast.decided(
        Viewer(kind="professional", id=PHYSICIAN, profession="G15_10/SM26", structure=HOSPITAL)
    )
    cast.told.expect(rule == "ACC-05", "the refusal is not by the block")
    one = cast.told.chapter("The patient blocks the physician", cast.site.clock())
    one.say(
        "She read the day before; with the same token she now finds nothing, and is not told why."
    )
    one.say(f"The operator is, by rule {rule}: {sentence}")
    who = f"physician,id={PHYSICIAN},structure={HOSPITAL}"
    one.look(f"decide --document {cast.discharge} --as {who}", 1)
    one.look(f"consent show --patient {cast.patient}")


def closing(cast: Cast) -> None:
    """T7, RET-02: closed on request; nobody reads, nothing is filed, ten years of archive begin."""
    cast.site.pass_to(cast.day(47))
    now = cast.site.clock()
    accounts = app.accounts_of(cast.ledger.settings, cast.ledger.engine)
    accounts.bring([cast.patient], "close", By("holder", "patient", "online"), now)
    cast.told.expect(cast.sent("closed"), "the holder was not told of the closing")
    answer = cast.people["patient"].get(f"DocumentReference/{cast.discharge}")
    cast.told.expect(answer.status_code == _ABSENT, "a closed record is read through the API")
    cast.send(sample("05-oru-8859-1.hl7"))
    ends = cast.space().due.get("T12")
    cast.told.expect(ends is not None, "no end of the archive is noted")
    one = cast.told.chapter("The space is closed", now)
    one.say("From now on nobody reads, the holder neither; what a laboratory sends is not filed.")
    if ends is not None:
        day = ends.astimezone(PARIS).date()
        years = day.year - now.astimezone(PARIS).year
        cast.told.expect(years == 10, "the archive is not kept for ten years")
        one.say(f"The content is archived for ten years, and deleted by itself on {day}.")
    one.look(f"account show --patient {cast.patient}")


def reopening(cast: Cast) -> None:
    """T11, RET-05: reopened at any time; the content is back, and so is what was said."""
    cast.site.pass_to(cast.day(48))
    now = cast.site.clock()
    accounts = app.accounts_of(cast.ledger.settings, cast.ledger.engine)
    accounts.bring([cast.patient], "reopen", By("holder", "patient", "online"), now)
    cast.told.expect(cast.sent("reopened"), "the holder was not told of the reopening")
    shown = cast.documents("patient")
    back = cast.people["patient"].get(f"DocumentReference/{cast.discharge}").status_code
    cast.told.expect(back == _FOUND, "what was archived is not back")
    cast.told.expect(not cast.documents("physician"), "the block was forgotten by the reopening")
    one = cast.told.chapter("The space is opened again", now)
    one.say(f"The archive is back: the patient lists {len(shown)} documents again.")
    one.say("What was said holds too: the physician is still blocked.")
    one.look(f"account show --patient {cast.patient}")
