"""Frames on their way: copied to a device and back, in flight in slots, in batches across cameras."""
