"""The methods of picture repair, one file each, named as in `--repair-with`; needs torch.

Stands on the pictures and export of `training`; nothing but `irchroma train` imports it.
"""
