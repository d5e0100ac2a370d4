"""Files that hold settled messages after they left the database: written, verified, found and read. No database here."""
