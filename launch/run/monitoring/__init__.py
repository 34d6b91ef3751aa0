"""How a run is, and who is told: statistics, health, a command or web address, the service's manager."""
