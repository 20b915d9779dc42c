"""How good a model's maps are: metrics in numpy and OpenCV, datasets, and the runner behind ``python -m server evaluate``."""
