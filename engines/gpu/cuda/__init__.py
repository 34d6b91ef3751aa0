"""The devices that are real: the driver, compiled kernels, PyCUDA and torch.

PyCUDA and torch are imported in one file each.
"""
