"""Weights: where they are, what is in them, and official checkpoints turned into safetensors, strictly."""
