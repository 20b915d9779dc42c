"""Training losses, one file a network. Needs the ``torch`` extra.

Every loss returns its weighted terms by name; their sum is what is minimised.
"""
