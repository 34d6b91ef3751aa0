"""The engines as an element of GStreamer's, for pipelines of one's own: `GST_PLUGIN_PATH` names this folder.

GStreamer looks for elements that are written in Python in `python` within it.
"""
