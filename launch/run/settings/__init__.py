"""What is asked of a run: its options, the flags that set them, files of several cameras, passwords."""
