"""The HTTP dialects: each file is a thin adapter between one contract and ``Settings.cut_photo``."""
