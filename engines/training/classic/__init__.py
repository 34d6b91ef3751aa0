"""The classic colorizers, one file each, named after their papers; needs torch.

Stands on the pictures, batches and export of `training`; nothing but `irchroma train` imports it.
"""
