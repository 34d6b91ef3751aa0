"""Colors recordings in parallel, piece by piece, so that the result is that of one run. Over `launch.run`."""
