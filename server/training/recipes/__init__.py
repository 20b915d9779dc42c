"""Recipes, one TOML file a network or family; see ``server.training.recipe``."""
