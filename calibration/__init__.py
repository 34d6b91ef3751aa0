"""Measures a camera, a scene or an engine and writes the files that a run reads."""
