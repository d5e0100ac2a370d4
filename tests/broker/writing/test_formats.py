"""Tests of `broker/writing/formats.py`: what settings offer and what can be written are one list."""

from __future__ import annotations

from typing import get_args

from broker.document import Document
from broker.settings_tables import Sends
from broker.writing.formats import FORMATS
from tests.broker.writing.documents import LETTER, PROJECT, STORE


def test_a_destination_may_be_sent_every_format_that_is_complete_by_itself() -> None:
    assert set(get_args(Sends)) - {"original"} == {
        name for name, form in FORMATS.items() if form.is_sent
    }


def test_every_format_writes_a_document_and_says_what_it_is() -> None:
    for form in FORMATS.values():
        assert form.to_bytes(LETTER, STORE)
        assert "/" in form.media
        assert form.what


def test_the_page_says_of_every_field_where_it_goes_or_that_it_does_not() -> None:
    page = (PROJECT / "docs" / "reference" / "cda-and-xds.md").read_text(encoding="utf-8")

    assert [name for name in Document.__struct_fields__ if f"`{name}`" not in page] == []
