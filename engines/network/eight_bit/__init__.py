"""8-bit twins of networks: made, and verified on the machine that runs them."""
