"""What happens to a frame on a device between the copies, as launches of kernels.

Each step's reference is the CPU's own code.
"""
