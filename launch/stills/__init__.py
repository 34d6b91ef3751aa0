"""Single pictures: read, colored, written, laid side by side. For commands and benches, not for runs."""
