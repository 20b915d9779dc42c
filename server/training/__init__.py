"""Training: readers for labelled photographs, augmentation, one loop, and one recipe a network. Needs the ``torch`` extra."""
