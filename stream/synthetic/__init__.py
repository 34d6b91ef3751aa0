"""Synthetic near-infrared and thermal cameras whose truth is known."""
