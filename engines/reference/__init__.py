"""Color of the same scene by day, registered onto the night's picture.

Knows no network; the CPU colorizer of `neural` imports it.
"""
