"""A library of color pictures, and which of them suits the scene that an infrared camera shows.

Knows no network; what runs a camera asks it.
"""
