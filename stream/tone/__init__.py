"""Counts or luma to 8-bit luma with memory (AGC), gain jumps, and whether the camera is in color.

No GStreamer.
"""
