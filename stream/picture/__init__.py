"""A finished picture in the layouts that sinks take, and lettering on it.

Numpy and OpenCV only.
"""
