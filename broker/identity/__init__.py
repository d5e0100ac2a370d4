"""Whose document is it: the national identity (INS) and the matching of identifiers. Pure."""
