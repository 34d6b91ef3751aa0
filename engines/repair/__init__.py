"""Fills what a picture lacks: dead areas, scratches, burnt-in text, lost blocks.

What was seen there before comes first, carried along the motion; a network or OpenCV where nothing was seen.
Stands on `temporal`'s motion and `network`'s runtimes; knows no video sources and no sinks.
"""
