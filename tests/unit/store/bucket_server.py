"""The S3 protocol, spoken by moto's own server in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

SERVE = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
server.start()
host, port = server.get_host_and_port()
import boto3
s3 = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}", region_name="us-east-1")
s3.create_bucket(Bucket="team")
s3.put_object(Bucket="team", Key="rows.csv", Body=b"a,b")
s3.create_bucket(Bucket="versions")
s3.put_bucket_versioning(Bucket="versions", VersioningConfiguration={"Status": "Enabled"})
s3.put_object(Bucket="versions", Key="rows.csv", Body=b"old")
print("OLD", s3.head_object(Bucket="versions", Key="rows.csv")["VersionId"])
s3.put_object(Bucket="versions", Key="rows.csv", Body=b"new")
print('PORT', port, flush=True)
sys.stdin.read()
server.stop()
"""


@contextmanager
def s3_server(folder: Path) -> Iterator[dict[str, str]]:
    """Run a server and yield the environment variables that lead to it.

    Its bucket ``team`` holds ``rows.csv`` ("a,b"); ``versions`` keeps versions and holds ``rows.csv``, ``new`` now and
    ``old`` under the version id in ``OLD_VERSION``.
    """
    with (folder / "moto.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", SERVE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**os.environ, "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"},
        )
        assert process.stdin is not None and process.stdout is not None
        told: dict[str, str] = {}
        while "PORT" not in told and (line := process.stdout.readline()):
            if line.startswith(("OLD ", "PORT ")):
                name, value = line.split()
                told[name] = value
        port = told.get("PORT", "")
        address = f"http://127.0.0.1:{port}"
        try:
            with urlopen(f"{address}/moto-api/", timeout=20):
                pass
        except URLError as error:
            raise AssertionError((folder / "moto.log").read_text()) from error
        try:
            yield {
                "AWS_ENDPOINT_URL": address,
                "AWS_ACCESS_KEY_ID": "an-id",
                "AWS_SECRET_ACCESS_KEY": "a-secret-of-aws",
                "AWS_DEFAULT_REGION": "us-east-1",
                "OLD_VERSION": told["OLD"],
            }
        finally:
            process.stdin.close()
            process.stdout.close()
            process.wait(timeout=20)
