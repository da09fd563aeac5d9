"""Real servers that are told: one of the web and one for mail."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage, Message
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import cast

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from mlnb.project import Project
from tests.bench.certificates import Pair, issue
from tests.unit.faces.conftest import mlnb

__all__ = ["mlnb"]

USER, PASSWORD = "mailer@example.org", "correct horse battery"


@dataclass
class Post:
    """One message as it came."""

    path: str
    headers: Message
    body: bytes

    def json(self) -> dict[str, object]:
        return cast("dict[str, object]", json.loads(self.body))


class Receiver(ThreadingHTTPServer):
    """Keeps what it is told; answers with the statuses that it was given, then with 204."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.posts: list[Post] = []
        self.statuses: list[int] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.posts.append(Post(self.path, self.headers, body))
        self.send_response(self.server.statuses.pop(0) if self.server.statuses else 204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@dataclass
class Post_office:
    """A mail server: takes mail of who logs in, for everybody but nobody@."""

    port: int
    ca: Path
    mails: list[EmailMessage] = field(default_factory=list)

    async def handle_RCPT(self, server: SMTP, session: Session, envelope: Envelope, address: str, _: list[str]) -> str:
        if address.startswith("nobody@"):
            return "550 5.1.1 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        assert session.authenticated
        self.mails.append(cast(EmailMessage, message_from_bytes(cast(bytes, envelope.content), policy=default)))
        return "250 taken"


def _authenticate(_: SMTP, __: Session, ___: Envelope, mechanism: str, given: object) -> AuthResult:
    assert isinstance(given, LoginPassword)
    known = (given.login.decode(), given.password.decode()) == (USER, PASSWORD)
    return AuthResult(success=known, handled=known)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return issue(tmp_path_factory.mktemp("mail"), "post-office")


def _serve(certificate: Pair, *, starttls: bool) -> Iterator[Post_office]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate.cert, certificate.key)
    office, loop = Post_office(0, certificate.cert), asyncio.new_event_loop()

    def speak() -> SMTP:
        if starttls:
            return SMTP(
                office,
                tls_context=context,
                require_starttls=True,
                auth_required=True,
                authenticator=_authenticate,
                loop=loop,
            )
        return SMTP(office, auth_require_tls=False, authenticator=_authenticate, loop=loop)

    made = loop.create_server(speak, "127.0.0.1", 0, ssl=None if starttls else context)
    server = loop.run_until_complete(made)
    office.port = server.sockets[0].getsockname()[1]
    thread = Thread(target=loop.run_forever)
    thread.start()
    yield office
    asyncio.run_coroutine_threadsafe(_close(server), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


async def _close(server: asyncio.Server) -> None:
    server.close()
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    await asyncio.sleep(0)


@pytest.fixture
def post_office(certificate: Pair) -> Iterator[Post_office]:
    yield from _serve(certificate, starttls=True)


@pytest.fixture
def tls_post_office(certificate: Pair) -> Iterator[Post_office]:
    yield from _serve(certificate, starttls=False)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A project whose channels the test declares."""
    (tmp_path / "pyproject.toml").write_text("[tool.mlnb]\n")
    made = Project(tmp_path)
    yield made
    made.ledger.close()
