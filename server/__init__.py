"""The segmentation server: a photograph goes in, a cut-out comes out."""
