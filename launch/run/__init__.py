"""A run: its options and flags, its wiring, its cameras, control while it goes, and the process around it."""
