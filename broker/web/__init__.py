"""The record's API: FHIR R4, read side. Every answer is decided, and leaves its trace with the reading."""
