"""Faults are survived on both set-ups; the fixtures are those of the stories."""

from tests.story.conftest import site

__all__ = ["site"]
