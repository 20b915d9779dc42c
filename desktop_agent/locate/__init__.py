"""Finding where on the screen the phone points."""
