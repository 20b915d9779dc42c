"""The page at ``/``: try the server with a picture of your own."""
