"""The command `irchroma engines`."""
