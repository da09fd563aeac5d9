"""A service's URL becomes one keep-alive connection that speaks JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from ssl import SSLContext
from types import TracebackType
from urllib.parse import urlsplit

from mlnb.errors import ServiceError


@dataclass(frozen=True, slots=True)
class Reply:
    """Status and JSON body of an answer."""

    status: int
    body: Mapping[str, object]


class Client:
    """One connection; a context manager.

    Parameters
    ----------
    url : str
        The deployment's URL.
    timeout_s : float
        For each answer.
    tls : SSLContext or None
        What a URL of ``https`` is asked with; None trusts whom the system trusts.
    """

    def __init__(self, url: str, timeout_s: float = 60.0, tls: SSLContext | None = None) -> None:
        parts = urlsplit(url)
        self._url = url
        host = parts.hostname or ""
        self._connection = (
            HTTPSConnection(host, parts.port, timeout=timeout_s, context=tls)
            if parts.scheme == "https"
            else HTTPConnection(host, parts.port, timeout=timeout_s)
        )

    def __enter__(self) -> Client:
        """Return the client itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection."""
        self._connection.close()

    def get(self, path: str) -> Reply:
        """Get `path`. Raises `ServiceError` where nothing answers."""
        return self._request("GET", path, b"")

    def post(self, path: str, body: bytes) -> Reply:
        """Post a JSON `body` to `path`. Raises `ServiceError` where nothing answers."""
        return self._request("POST", path, body)

    def _request(self, method: str, path: str, body: bytes) -> Reply:
        try:
            self._connection.request(method, path, body, {"Content-Type": "application/json"})
            response = self._connection.getresponse()
            content = json.loads(response.read())
        except (OSError, HTTPException, ValueError) as error:
            self._connection.close()
            raise ServiceError(
                f"The service at {self._url} does not answer {path}: {str(error) or type(error).__name__}.",
                "See `mlnb services list` and `mlnb services logs NAME`.",
            ) from error
        return Reply(response.status, content if isinstance(content, dict) else {})


def expect_ok(reply: Reply, url: str) -> Mapping[str, object]:
    """Return the body of a successful answer.

    Raises
    ------
    ServiceError
        With what the service said.
    """
    if reply.status == 200:
        return reply.body
    told = reply.body.get("error")
    fault = told if isinstance(told, dict) else {}
    faults = "; ".join(map(str, fault.get("faults", [])))
    raise ServiceError(
        f"The service at {url} answered {reply.status}: {fault.get('problem', reply.body)} {faults}".rstrip(),
        str(fault.get("remedy", "See `mlnb services logs NAME`.")),
    )
