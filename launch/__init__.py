"""The command line, configuration and wiring of irchroma."""
