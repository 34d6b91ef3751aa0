"""What is asked of a run: options, the flags that set them, passwords. Imports no other part of a run."""
