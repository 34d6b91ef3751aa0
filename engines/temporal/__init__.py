"""Color that stands still: motion, agreement, memory, gain jumps, cuts, and how often to color.

Works on small pictures; knows no network and no device.
"""
