"""Mapping: a message of any format to Documents, by rules a person can read. Pure once a set is loaded."""
