"""How the story is told: chapters with their day, sentences, and the commands to look at each oneself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from rich.markup import escape

from broker.cli import output


@dataclass(frozen=True, slots=True)
class Look:
    """A command that shows what was told, and how it ends (exit code) once the story is over."""

    command: str
    code: int = output.GOOD


@dataclass(slots=True)
class Chapter:
    """One step of the story."""

    title: str
    at: datetime
    said: list[str] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)

    def say(self, sentence: str) -> None:
        """Tell one sentence more."""
        self.said.append(sentence)

    def look(self, command: str, code: int = output.GOOD) -> None:
        """Name a command that shows it."""
        self.looks.append(Look(command, code))


@dataclass(slots=True)
class Told:
    """The whole story. `faults` is empty when everything was as promised."""

    folder: Path
    chapters: list[Chapter] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def chapter(self, title: str, at: datetime) -> Chapter:
        """Begin a chapter."""
        self.chapters.append(Chapter(title, at))
        return self.chapters[-1]

    def expect(self, is_so: bool, fault: str) -> None:
        """Keep what was not as promised."""
        if not is_so:
            self.faults.append(fault)


def show(told: Told) -> None:
    """The story for people."""
    config = f"--config {told.folder / 'carnet.toml'}"
    for number, chapter in enumerate(told.chapters, 1):
        output.say()
        output.say(f"[bold]{number}. {escape(chapter.title)}[/]  [dim]{chapter.at:%Y-%m-%d}[/]")
        for sentence in chapter.said:
            output.say(f"   {escape(sentence)}")
        for look in chapter.looks:
            output.say(f"   [cyan]{escape(f'carnet {look.command} {config}')}[/]")
    output.say()
    output.say(f"Mails, letters and secure mails stand as files in {escape(str(told.folder))}.")


def verdict(told: Told, seconds: float, *, check: bool, as_json: bool) -> None:
    """What was not as promised, or that everything was."""
    if as_json:
        output.tell(
            {
                "good": not told.faults,
                "faults": told.faults,
                "seconds": seconds,
                "chapters": [_chapter(one) for one in told.chapters],
            }
        )
        return
    for fault in told.faults:
        output.say(f"[bold red]not as promised[/]: {escape(fault)}")
    if check and not told.faults:
        output.say(f"[green]checked ✓[/] everything is as promised, in {seconds} s")


def _chapter(one: Chapter) -> Mapping[str, object]:
    looks: Sequence[Mapping[str, object]] = [
        {"command": look.command, "exit": look.code} for look in one.looks
    ]
    return {"title": one.title, "at": one.at, "said": one.said, "looks": looks}
