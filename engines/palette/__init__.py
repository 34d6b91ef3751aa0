"""False color: tables, slices, isotherms, and the plain gray that the tone map gives.

Imported by name of the engine only; no network is loaded.
"""
