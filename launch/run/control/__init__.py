"""A run that is changed while it goes on: by its page, and by its configuration. For the run's wiring."""
