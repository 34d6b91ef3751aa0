"""The CUDA kernels, their arguments, and the same sources built as C++ for machines without a GPU."""
