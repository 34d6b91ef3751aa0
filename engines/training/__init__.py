"""Training of the networks and their export; needs torch.

Only `irchroma train` and the commands that fit a confidence or an 8-bit twin import it.
"""
