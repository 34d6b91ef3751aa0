"""Many cameras on many machines: which camera runs where, and what months of failures make of it."""
