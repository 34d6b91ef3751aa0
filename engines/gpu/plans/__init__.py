"""TensorRT plans: built, kept, proved to have the precision asked for, and run.

`library` is the only file that imports TensorRT.
"""
