"""Beyond one machine: the same dialects and the same models as a Ray Serve application. Needs the ``scale`` extra."""
