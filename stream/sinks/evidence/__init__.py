"""Evidence: the color, the untouched input and the facts of each frame in one file, chained and signed."""
