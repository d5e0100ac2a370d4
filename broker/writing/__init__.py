"""Documents to the formats destinations speak: one writer per format, pure."""
