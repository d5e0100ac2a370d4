"""The records: the ledger of messages, patients and their documents, deliveries owed, and who looked."""
