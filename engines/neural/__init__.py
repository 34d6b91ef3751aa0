"""The CPU colorizer: network, temporal stage, upsampling; and its settings while it runs.

Stands on `network`, `temporal`, `reference` and `recolor`; knows no device.
"""
