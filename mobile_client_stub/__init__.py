"""The phone: web page, Python client, simulated camera, demo."""
