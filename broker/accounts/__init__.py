"""The life-cycle of a patient's space: states, days, codes, and the words of it. Pure: time comes in as an argument."""
