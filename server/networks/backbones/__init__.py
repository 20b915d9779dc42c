"""The encoders, one family a file, in the layouts their ImageNet or SAM weights come in."""
