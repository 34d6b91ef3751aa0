"""Arrays in, arrays out: palettes, networks, training, runtimes, temporal smoothing."""
