"""What stands and moves in a synthetic scene, each drawn by itself."""
