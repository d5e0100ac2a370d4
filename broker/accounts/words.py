"""The words of transitions, for a history that explains itself: English and French. No I/O."""

from __future__ import annotations

from typing import Literal

Language = Literal["en", "fr"]

TRANSITION_WORDS: dict[str, tuple[str, str]] = {
    "T1": (
        "was informed of the opening; six weeks to oppose it begin",
        "a été informé de l'ouverture ; le délai d'opposition de six semaines commence",
    ),
    "T2": ("opposed the opening within six weeks", "s'est opposé à l'ouverture dans les six semaines"),
    "T3": (
        "said nothing for six weeks: the space is open",
        "n'a rien dit pendant six semaines : l'espace est ouvert",
    ),
    "T3b": (
        "six weeks are over, and the space cannot be opened: the person has no INS here",
        "les six semaines sont écoulées et l'espace ne peut pas être ouvert : la personne n'a pas d'INS ici",
    ),
    "T4": ("activated the space within six weeks", "a activé l'espace dans les six semaines"),
    "T5": ("activated the space", "a activé l'espace"),
    "T5b": ("was given a new code", "a reçu un nouveau code"),
    "T6": (
        "had opposed, and asks for the space: it is open",
        "s'était opposé et demande l'espace : il est ouvert",
    ),
    "T7": (
        "closed the space; its content is archived for ten years",
        "a fermé l'espace ; son contenu est archivé dix ans",
    ),
    "T8": (
        "has died; the space is closed, its content archived for ten years",
        "est décédé ; l'espace est fermé, son contenu archivé dix ans",
    ),
    "T9": (
        "the space is suspended; six weeks to object begin",
        "l'espace est suspendu ; un délai de six semaines pour s'y opposer commence",
    ),
    "T10": (
        "six weeks without objection to the suspension: the space is closed",
        "six semaines sans objection à la suspension : l'espace est fermé",
    ),
    "T10a": (
        "objected to the suspension within six weeks: the space is not closed by the clock any more",
        "s'est opposé à la suspension dans les six semaines : l'espace n'est plus fermé automatiquement",
    ),
    "T10b": (
        "objected to the suspension, rightly: the space is open again",
        "s'est opposé à la suspension, avec raison : l'espace est rouvert",
    ),
    "T11": (
        "asked for the space again; what was archived is back in it",
        "a redemandé l'espace ; ce qui était archivé y est revenu",
    ),
    "T12": (
        "ten years after the closing the content is deleted",
        "dix ans après la fermeture, le contenu est supprimé",
    ),
    "T13": (
        "the deletion that was asked for (within three months)",
        "la suppression demandée (dans les trois mois)",
    ),
    "M2": (
        "is reached from a parent's space from now on",
        "est désormais accessible depuis l'espace d'un parent",
    ),
    "M5": (
        "is 18 today: parents' access ends",
        "a 18 ans aujourd'hui : l'accès des parents prend fin",
    ),
    "M6": (
        "is no longer reached from this parent's space",
        "n'est plus accessible depuis l'espace de ce parent",
    ),
    "MIG": (
        "the record of before the spaces was taken over with its content",
        "le dossier d'avant les espaces a été repris avec son contenu",
    ),
}  # fmt: skip


def transition_words(name: str, language: Language = "en") -> str:
    """What a transition says of the holder, as the rest of a sentence."""
    english, french = TRANSITION_WORDS.get(name, (name, name))
    return french if language == "fr" else english
