"""Pictures and sound to packets: the choice of encoders, their haste, what outputs share of them."""
