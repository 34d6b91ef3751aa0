"""`irchroma calibrate WHAT`, one file for each WHAT."""
