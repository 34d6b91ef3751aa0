"""Training of the color networks of both bands: pictures, augmentation, losses."""
