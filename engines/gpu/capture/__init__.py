"""Recording of a frame's work as a graph, once, with its branches side by side."""
