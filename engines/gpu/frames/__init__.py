"""Frames on their way: copied to a device and back, searched for motion, in slots and batches."""
