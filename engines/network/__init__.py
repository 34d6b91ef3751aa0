"""One ONNX file on a CPU runtime, alone or shared by several cameras.

The only place that knows OpenVINO, ONNX Runtime and torch as runtimes, one file each.
"""
