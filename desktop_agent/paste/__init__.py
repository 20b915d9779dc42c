"""Putting cut-outs into applications: one small interface, one driver a file."""
