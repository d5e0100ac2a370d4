"""Content at rest: sealed under data keys, which the site's master keys wrap. See ADR 0023."""
