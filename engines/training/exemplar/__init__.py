"""The `reference` engine's training: a network that colors infrared by a color picture given with it.

Imports the rest of `training`; nothing else of `engines` imports it.
"""
