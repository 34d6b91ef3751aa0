"""`irchroma train`: a file for each kind of training."""
