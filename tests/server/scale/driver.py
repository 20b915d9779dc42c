"""Runs the application on a Ray of its own until standard input ends: ``driver.py PORT key=value ...``."""

from __future__ import annotations

import sys

import ray
from ray import serve

from server.scale.application import application

if __name__ == "__main__":
    port, *given = sys.argv[1:]
    ray.init(num_cpus=4, include_dashboard=False, object_store_memory=200 << 20)
    serve.start(http_options={"host": "127.0.0.1", "port": int(port)})
    serve.run(application(dict(option.split("=", 1) for option in given)))
    print("serving", flush=True)
    sys.stdin.read()
    serve.shutdown()
    ray.shutdown()
