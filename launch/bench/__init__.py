"""`irchroma bench WHAT`: a file for each bench, and what several of them use."""
