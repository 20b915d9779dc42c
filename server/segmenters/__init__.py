"""Models that run without torch, one a file."""
