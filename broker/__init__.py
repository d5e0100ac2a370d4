"""Carnet's broker: durable intake, mapping, decisions, the patient's record and its trail."""
