"""Networks and tickets: layers, masks, what they cost."""
