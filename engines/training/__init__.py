"""Training of the networks and their export; needs torch.

Nothing but `irchroma train` imports it.
"""
