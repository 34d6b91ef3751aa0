"""What a frame costs, and the settings that a machine bears: measured, adapted and remembered."""
