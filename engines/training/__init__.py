"""Training of the networks and their export; needs torch, all but `pictures`.

Only `irchroma train` and the commands that fit a confidence or an 8-bit twin import it; of `pictures` the
calibration, too, takes what a picture is.
"""
