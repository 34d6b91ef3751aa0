"""Benches of the GPU path, and its first run on a machine with one; `irchroma bench gpu` imports them."""
