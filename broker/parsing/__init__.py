"""Parsing: bytes to a message of their format, lossless, without meaning. Pure; one module a format."""
