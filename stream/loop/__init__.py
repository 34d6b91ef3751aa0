"""The loop between source and sinks, its threads, and the guard that keeps the output going.

Knows sources, sinks and colorizers by their protocols only.
"""
