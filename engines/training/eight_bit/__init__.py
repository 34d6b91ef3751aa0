"""Tuning of 8-bit networks: their rounding is carried out in training, so that the weights make up for it.

Imports `network` and the learning rate of `training.steps`; the command that makes twins imports it.
"""
