"""The frame path on a device, whatever drives it: slots, streams, graphs, batches across cameras.

Knows neither TensorRT (`plans`) nor CUDA's libraries (`cuda`): they are handed in.
"""
