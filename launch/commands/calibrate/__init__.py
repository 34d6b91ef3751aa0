"""`irchroma calibrate WHAT`: the command, and most of WHAT in a file of its own."""
