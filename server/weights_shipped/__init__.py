"""Trained weights that ship with the package, a folder a model, each with a licence of its own."""
