"""`irchroma bench WHAT`, one file for each WHAT, and what they share."""
