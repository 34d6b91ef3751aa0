"""The browser page: its server, its live picture, its controls."""
