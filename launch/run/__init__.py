"""A run: its settings and wiring, its cameras, who watches and controls it, and the process around it."""
