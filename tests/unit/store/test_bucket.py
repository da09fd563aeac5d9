"""Bytes that several machines share: whole or absent, whoever writes and whatever lies there."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from mlnb.pipeline.sources import identities
from mlnb.store.bucket import Bucket
from mlnb.store.digests import FileDigests
from mlnb.store.files import FileStore
from mlnb.store.remote import identity_of, shown
from tests.unit.store.bucket_server import s3_server

CONTENT = b"bytes" * 1000
PAGES = {
    "/tagged.csv": {"ETag": '"v1"'},
    "/dated.csv": {"Last-Modified": "Sun, 22 Nov 2026 10:00:00 GMT"},
    "/silent.csv": {},
}


class Page(BaseHTTPRequestHandler):
    """Answers as servers do that say much, little or nothing about what they hold."""

    def do_HEAD(self) -> None:
        headers = PAGES.get(self.path.partition("?")[0])
        self.send_response(404 if headers is None else 200)
        for name, value in {"Content-Length": "3", **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def web() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(params=["file", "memory"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"file://{tmp_path}/share/a b" if request.param == "file" else f"memory://{tmp_path.name}/share"


def test_what_one_machine_puts_there_another_gets(address: str, tmp_path: Path) -> None:
    here, there = FileStore(tmp_path / "here"), FileStore(tmp_path / "there")
    digest, size = here.put(CONTENT)
    bucket, other = Bucket(address), Bucket(address)
    assert other.read("cache/x.json") is None
    assert not other.fetch(digest, size, there)
    assert bucket.push(digest, size, here)
    assert bucket.push(digest, size, here)
    assert bucket.write("cache/x.json", b"{}")
    assert other.read("cache/x.json") == b"{}"
    assert other.fetch(digest, size, there)
    assert there.read(digest) == CONTENT
    assert (bucket.said(), other.said()) == ((), ())


@pytest.mark.parametrize("damage", [b"", CONTENT[:-1], CONTENT[:-1] + b"!"])
def test_bytes_that_are_not_their_name_are_not_taken_and_are_replaced(damage: bytes, tmp_path: Path) -> None:
    here, there = FileStore(tmp_path / "here"), FileStore(tmp_path / "there")
    digest, size = here.put(CONTENT)
    bucket = Bucket(f"file://{tmp_path}/share")
    bucket.push(digest, size, here)
    place = tmp_path / "share" / "sha256" / digest[7:9] / digest[7:]
    place.write_bytes(damage)
    assert not bucket.fetch(digest, size, there)
    assert [path for path in (tmp_path / "there").rglob("*") if path.is_file()] == []
    assert bucket.push(digest, size, here)
    assert place.read_bytes() == CONTENT


def test_a_bucket_that_cannot_be_reached_is_left_alone_and_told_once_without_its_password(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    digest, size = store.put(CONTENT)
    bucket = Bucket("ftp://somebody:hunter2@127.0.0.1:9/cache")
    assert bucket.read("a") is None
    assert not bucket.fetch(digest, size, store)
    assert not bucket.push(digest, size, store)
    assert not bucket.push(digest, size, store)
    first, second = bucket.said()
    assert first.startswith("The shared cache ftp://127.0.0.1:9/cache cannot be read, so this run goes on without: ")
    assert "cannot be written" in second
    assert "hunter2" not in first + second and "somebody" not in first + second
    assert bucket.said() == ()


def test_an_address_without_its_library_says_what_to_install(tmp_path: Path) -> None:
    bucket = Bucket("gs://bucket/cache")
    assert bucket.read("a") is None
    assert "pip install 'gcsfs'" in bucket.said()[0]


@pytest.mark.parametrize(
    ("address", "seen"),
    [
        ("s3://bucket/a.csv", "s3://bucket/a.csv"),
        ("https://me:pw@host/a.csv", "https://host/a.csv"),
        ("https://host/a.csv?format=csv", "https://host/a.csv?format=csv"),
        ("https://h/a?X-Amz-Signature=0f&X-Amz-Credential=me&v=1", "https://h/a?X-Amz-Signature=%2A%2A%2A&X-Amz-Credential=%2A%2A%2A&v=1"),
        ("s3://bucket/a?versionId=7", "s3://bucket/a?versionId=7"),
    ],
)  # fmt: skip
def test_an_address_is_shown_without_its_secrets(address: str, seen: str) -> None:
    assert shown(address) == seen


WORK = """
import hashlib, os, sys
from pathlib import Path
from mlnb.store.remote import identity_of, versioned
from mlnb.store.bucket import Bucket
from mlnb.store.files import FileStore
folder, mine, theirs = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
store, bucket = FileStore(folder / mine), Bucket("s3://team/cache")
def content(who, number):
    return f"{who} {number} ".encode() * 3000
for number in range(8):
    for who in (mine, "both"):
        digest, size = store.put(content(who, number))
        assert bucket.push(digest, size, store)
        assert bucket.write(f"{who}/{number}.json", f"{digest} {size}".encode())
print("wrote", flush=True)
sys.stdin.readline()
for number in range(8):
    for who in (theirs, "both"):
        digest, size = bucket.read(f"{who}/{number}.json").decode().split()
        copy = FileStore(folder / f"copy-{mine}")
        assert bucket.fetch(digest, int(size), copy)
        assert copy.read(digest) == content(who, number)
assert bucket.said() == (), bucket.said()
assert identity_of("s3://team/rows.csv") == "etag:" + hashlib.md5(b"a,b").hexdigest()  # as S3 has it for one part
assert identity_of("s3://team/no.csv") == "nothing"
old = "version:" + os.environ["OLD_VERSION"]
now = identity_of("s3://versions/rows.csv")
assert now.startswith("version:") and now != old
for identity, content in ((old, b"old"), (now, b"new")):
    part = folder / f"{mine} {content}"
    assert versioned("s3://versions/rows.csv", identity, part) and part.read_bytes() == content
print("read")
"""


def test_two_processes_share_a_bucket_over_the_s3_protocol(tmp_path: Path) -> None:
    with s3_server(tmp_path) as environ:
        environ = {**os.environ, **environ}
        workers = [
            subprocess.Popen(
                [sys.executable, "-c", WORK, str(tmp_path), mine, theirs],
                env=environ,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for mine, theirs in (("one", "two"), ("two", "one"))
        ]
        for worker in workers:
            assert worker.stdout is not None and worker.stdin is not None
            assert worker.stdout.readline() == "wrote\n", worker.communicate()
        for worker in workers:
            out, err = worker.communicate("\n", timeout=120)
            assert out == "read\n", err


def test_a_page_is_known_by_its_etag_or_date(web: str) -> None:
    assert identity_of(f"{web}/tagged.csv?token=abc") == 'etag:"v1"'
    assert identity_of(f"{web}/dated.csv") == "modified:Sun, 22 Nov 2026 10:00:00 GMT/3"
    assert identity_of(f"{web}/silent.csv") == ""


def test_an_address_that_cannot_be_asked_counts_as_what_it_last_said(web: str, tmp_path: Path) -> None:
    digests = FileDigests(tmp_path / "digests.json")
    first = identities([f"{web}/tagged.csv"], tmp_path, digests)
    assert (first.files, first.notices) == ({f"{web}/tagged.csv": 'etag:"v1"'}, ())
    silent = identities([f"{web}/silent.csv"], tmp_path, digests)
    assert silent.files == {f"{web}/silent.csv": "unknown"}
    assert silent.notices[0].startswith(f"{web}/silent.csv does not say what it holds (no version, ETag or date)")
    digests.hear(f"{web}/gone.csv", "etag:old")
    gone = identities([f"{web}/gone.csv"], tmp_path, FileDigests(tmp_path / "digests.json"))
    assert gone.files == {f"{web}/gone.csv": "etag:old"}
    assert "HTTPError" in gone.notices[0] and "It counts as unchanged." in gone.notices[0]
