"""The networks of the papers, one a file, in the official parameter layouts. Importing this package needs no torch."""
