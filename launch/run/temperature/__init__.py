"""A run's temperatures: what is measured, and who is told of alarms. For the run's wiring."""
