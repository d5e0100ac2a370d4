"""Routing rules as files: read, checked, compiled to what `rules.routing` runs, and said in words."""
