"""8-bit twins of networks: made, verified on the machine that runs them, and where they are trusted."""
