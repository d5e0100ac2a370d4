"""Rewrites an `.expect.yaml` so that it says what a message becomes now; comments and order stay as they are.

Only what the file already asserts is brought up to date: a value, the list of issues, the unread places. For
`carnet mapping test --update`, which shows the difference before anything is written.
"""

from __future__ import annotations

import msgspec
import yaml

from broker.mapping.golden import differences, issue_differences, read, value_at
from broker.mapping.problems import Place, Problems
from broker.mapping.run import Mapped
from broker.mapping.strict_yaml import Block, Sequence, Text, load


def updated(text: str, file: str, mapped: Mapped | None, rejected: str) -> str:
    """The file's new text; the same where nothing differs.

    Raises: ValueError for a difference that no line of the file can be changed for: a message that is rejected now or
    no more, and a value written over several lines.
    """
    expected = read(text, file)
    if rejected != expected.rejected:
        now = f"rejected with {rejected}" if rejected else "mapped"
        raise ValueError(f"{file}: the message is {now}: write this expectation anew")
    if mapped is None:
        return text
    root = load(text, file, Problems())
    assert root is not None
    editor = _Editor(text)
    documents = msgspec.json.decode(msgspec.json.encode(mapped.documents))
    _scalar(editor, root, "mapping", mapped.mapping)
    _scalar(editor, root, "documents", str(len(mapped.documents)))
    gone = []
    values = root.items.get("expect")
    for path, written in values.items.items() if isinstance(values, Block) else ():
        found = value_at(documents, path)
        if not isinstance(written, Text) or found == written.value:
            continue
        if found is None:
            gone.append(path)
            editor.drop(written.place)
        else:
            editor.put(written.place, found)
    _absent(editor, root, documents, gone)
    issues = [
        f"{i.code} {i.source_path or i.detail or i.target_path}".strip() for i in mapped.issues
    ]
    if expected.issues is not None and issue_differences(expected.issues, mapped.issues):
        editor.put_list(root, "issues", list(dict.fromkeys(issues)))
    if expected.unread is not None and set(expected.unread) != set(mapped.unread):
        editor.put_list(root, "unread", sorted(mapped.unread))
    new = editor.text() if differences(expected, mapped) else text
    if left := differences(read(new, file), mapped):
        raise ValueError(f"{file}: change it by hand: {left[0]}")
    return new


def _scalar(editor: _Editor, root: Block, key: str, value: str) -> None:
    written = root.items.get(key)
    if isinstance(written, Text) and written.value != value:
        editor.put(written.place, value)


def _absent(editor: _Editor, root: Block, documents: object, gone: list[str]) -> None:
    """What is there no more is expected to be absent from now on; what is there is not expected to be absent."""
    listed = root.items.get("absent")
    before = (
        [item.value for item in listed.items if isinstance(item, Text)]
        if isinstance(listed, Sequence)
        else []
    )
    assert isinstance(documents, list)
    now = [path for path in before if value_at(documents, path) is None] + gone
    if now != before:
        editor.put_list(root, "absent", now)


class _Editor:
    """Changes single lines of a text by their places."""

    def __init__(self, text: str) -> None:
        self._lines: list[str | None] = list(text.splitlines())
        self._ends: list[str] = []

    def put(self, place: Place, value: str) -> None:
        """A new value where an old one is written; the comment behind it stays."""
        line = self._lines[place.line - 1]
        assert line is not None
        head, old = line[: place.column - 1], line[place.column - 1 :]
        if place.width >= len(old) or old[place.width :].lstrip()[:1] in {"", "#"}:
            self._lines[place.line - 1] = (head + quoted(value) + old[place.width :]).rstrip()
            return
        raise ValueError(f"{place}: a value over several lines: change it by hand")

    def drop(self, place: Place) -> None:
        """Take the line out."""
        self._lines[place.line - 1] = None

    def put_list(self, root: Block, key: str, values: list[str]) -> None:
        """A list under a top-level key, new or instead of the one that is there."""
        listed = root.items.get(key)
        written = [f"  - {quoted(value)}" for value in values]
        if not isinstance(listed, Sequence):
            self._ends += [f"{key}:", *written]
            return
        for item in listed.items:
            self.drop(item.place)
        if listed.items:
            self._lines[listed.items[0].place.line - 1] = "\n".join(written) or None
            at = root.keys[key].place.line - 1
        else:
            at = listed.place.line - 1
            self._lines[at] = "\n".join([f"{key}:", *written])
        if not values:
            self._lines[at] = f"{key}: []"

    def text(self) -> str:
        """The whole, ended by a line end."""
        return "".join(f"{line}\n" for line in [*self._lines, *self._ends] if line is not None)


def quoted(value: str) -> str:
    """A text as one line of YAML that reads back as the same text in the strict dialect."""
    style = '"' if "\n" in value or "\r" in value else None
    made = yaml.safe_dump(value, default_style=style, allow_unicode=True, width=1_000_000)
    return made.removesuffix("\n").removesuffix("\n...")
