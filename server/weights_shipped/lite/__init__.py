"""Weights of ``lite``; see ``LICENSE.txt`` here and ``docs/models/lite.md``."""
