"""Benchmarks of pictures: fidelity, flicker, references, repair."""
