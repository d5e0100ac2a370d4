"""What `carnet map --to` prints: the documents of messages in the format a destination would be sent."""

from __future__ import annotations

import sys

from broker import rendering
from broker.cli import output
from broker.errors import PermanentError, SetupError
from broker.mapper import Reading
from broker.mapping.catalogue import MappingSet
from broker.writing import xds

_DESCRIBED = frozenset({"xds", "xdm"})
_BINARY = frozenset({"xdm"})


class Printer:
    """Writes documents to standard output, remarks about them to standard error.

    `found` says whether anything was refused or missing.
    """

    def __init__(self, mappings: MappingSet, name: str, only: int | None, using: str) -> None:
        """`using` names an outbound mapping. Raises: SetupError `usage.map` for a format that is none."""
        if name not in rendering.FORMS:
            known = ", ".join(f"{key} ({form.what})" for key, form in rendering.FORMS.items())
            raise SetupError(
                "usage.map", where="--to", reason="no such format", hint=f"known: {known}"
            )
        self._mappings = mappings
        self._name = name
        self._using = using
        self._only = only
        self._number = -1
        self._printed = 0
        self.found = False

    def print(self, reading: Reading) -> None:
        """The documents of one message.

        Raises: SetupError `usage.map` when a second archive would follow the first.
        """
        for document in reading.documents:
            self._number += 1
            if self._only not in (None, self._number):
                continue
            if self._printed and self._name in _BINARY:
                raise SetupError(
                    "usage.map",
                    where=f"--to {self._name}",
                    reason="one archive cannot follow another",
                    hint="choose one with --document 0, --document 1, …",
                )
            try:
                rendered = rendering.render(
                    self._mappings,
                    document,
                    self._name,
                    reading.attachments.__getitem__,
                    mapping=self._using,
                )
            except PermanentError as error:
                self.found = True
                output.failure(error)
                continue
            # A line end between documents, none after: one alone is what a destination is sent, byte for byte.
            sys.stdout.flush()
            data = rendered.body
            sys.stdout.buffer.write(b"\n" + data if self._printed else data)
            sys.stdout.buffer.flush()
            self._printed += 1
            for issue in rendered.issues:
                place = f"{issue.source_path} {issue.target_path} {issue.detail}".rstrip()
                output.aside().print(f"document {self._number}: {issue.code} {place}", markup=False)
            for one in xds.missing(document) if self._name in _DESCRIBED else ():
                self.found = True
                output.aside().print(
                    f"document {self._number}: missing {one.attribute}, nothing at {one.place}",
                    markup=False,
                )

    def close(self) -> None:
        """Raises: SetupError `usage.map` when the chosen document is none of those read."""
        if self._only is not None and self._only > self._number:
            raise SetupError(
                "usage.map",
                where=f"--document {self._only}",
                reason=f"there are {self._number + 1} documents, numbered from 0",
            )
