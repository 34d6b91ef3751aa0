"""What is asked of a run: its options, the flags that set them, passwords. Imports nothing else of `launch.run`."""
