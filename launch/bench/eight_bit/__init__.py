"""What 8-bit twins gain and cost; `irchroma bench twins` imports it."""
