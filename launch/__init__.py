"""The program `irchroma`: its command line, its configuration, and how a run is put together.

Python programs use `irchroma.engines` and `irchroma.stream`; nothing in here is meant for them.
"""
