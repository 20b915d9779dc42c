"""Stored results in an S3-compatible bucket, through s3fs, in a process of its own (s3fs keeps a thread and its connections)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from server.wsgi import serving
from tests.server.s3 import Bucket

ROOT = Path(__file__).resolve().parents[2]
STORE_AND_SWEEP = """
import json
from server.results import ResultStore

now = [1_800_000_000.0]
store = ResultStore("s3://results/cut", 60, lambda: now[0])
first = store.put(b"first")
now[0] += 30
second = store.put(b"second")
found = [store.get(first), store.get(second), store.get(first.replace("-", "-x")[:-5] + ".png")]
early = store.sweep()
now[0] += 30
ended = [store.get(first), store.get(second)]
swept = store.sweep()
again = ResultStore("s3://results/cut", 60, lambda: now[0])
print(json.dumps({
    "first": first, "second": second, "found": [data and data.decode() for data in found], "early": early,
    "ended": [data and data.decode() for data in ended], "swept": swept,
    "later": again.get(second).decode(), "nothing": again.sweep(),
}))
"""


def test_results_live_in_a_bucket_and_are_deleted_on_time() -> None:
    pytest.importorskip("s3fs")
    bucket = Bucket("results")
    bucket.objects["cut/notes.txt"] = b"mine"
    with serving(bucket, "127.0.0.1", 0) as (host, port):
        environment = {
            **os.environ,
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "any",
            "AWS_SECRET_ACCESS_KEY": "any",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        run = subprocess.run(
            [sys.executable, "-c", STORE_AND_SWEEP],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=200,
        )
    assert run.returncode == 0, run.stderr[-2000:] + "\n" + "\n".join(bucket.requests)
    told = json.loads(run.stdout)
    assert told["found"] == ["first", "second", None]
    assert (told["early"], told["swept"], told["nothing"]) == (0, 1, 0)
    assert told["ended"] == [None, "second"]
    assert told["later"] == "second"
    assert bucket.objects == {"cut/notes.txt": b"mine", f"cut/{told['second']}": b"second"}
    assert f"DELETE cut/{told['first']}" in bucket.requests
