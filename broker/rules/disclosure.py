"""Who reads which line of the trail. Pure; AUD-02, AUD-04, AUD-07, MIN-07, RET-07's counterpart for traces."""

from __future__ import annotations

from typing import Literal

Reader = Literal[
    "holder", "representatives", "medecin_traitant", "author", "professional", "auditor"
]

_ALL = frozenset({"holder", "medecin_traitant", "auditor"})


def shows(
    reader: Reader,
    *,
    is_own_action: bool,
    is_denied: bool,
    is_secret: bool,
    may_see_document: bool,
) -> bool:
    """Whether a reader of the trail is shown a line.

    is_own_action: the reader did it, or (for an author) it was done to what they wrote
    is_secret: done in a connexion secrète, or about a document hidden from representatives
    may_see_document: what a decision of today says to this reader about the document the line names; true for none

    Auditors see everything (R.1111-54). Refused attempts are traced and shown to no one else (AUD-04). A line about a
    document the reader may not see would tell of it, and is left out (AUD-07); representatives learn nothing of a
    connexion secrète (MIN-07).
    """
    if reader == "auditor":
        return True
    if is_denied or not may_see_document:
        return False
    if reader == "representatives":
        return not is_secret
    return reader in _ALL or is_own_action


def shows_word(reader: str, *, kind: str, is_about_reader: bool) -> bool:
    """Whether somebody is told what the patient said of who may see the record (a kind of `consent_event`).

    reader: `patient`, `representative`, `professional`, as a viewer's kind
    is_about_reader: it names who reads, or a team they are in

    The holder sees all of it. A professional sees what was given to them or their team, and never a block, a refused
    emergency or a word to somebody else (derived, least privilege: CON-01, ACC-05). Representatives see what the
    holder does but what a minor keeps from them (MIN-02, NOT-06) and whoever else acts for them.
    """
    if reader == "patient":
        return True
    if reader == "representative":
        return kind != "minor_act" and (kind != "mandate" or is_about_reader)
    return reader == "professional" and is_about_reader and kind in _TOLD


_TOLD = frozenset({"consultation", "explicit", "traitant"})
"""Words to a professional that they may know of."""
