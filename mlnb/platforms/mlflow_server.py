"""The address of an MLflow server becomes its REST API: JSON in, JSON out, and files of its artifact proxy.

Only HTTP is spoken, so MLflow is not installed for it. Credentials are those of MLflow's own client: in the address, or
``MLFLOW_TRACKING_USERNAME`` and ``MLFLOW_TRACKING_PASSWORD``, or ``MLFLOW_TRACKING_TOKEN``; certificates are
``MLFLOW_TRACKING_SERVER_CERT_PATH`` and ``MLFLOW_TRACKING_CLIENT_CERT_PATH``. They go to this server alone: a
redirection is refused, and no message holds them.

References
----------
https://mlflow.org/docs/latest/api_reference/rest-api.html
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from urllib.parse import SplitResult, quote, unquote, urlsplit, urlunsplit

import httpx

from mlnb.errors import PlatformError, UsageError

CREDENTIALS = ("MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_CLIENT_CERT_PATH")
_TIMEOUT = httpx.Timeout(60.0, connect=10.0)
_CHUNK_BYTES = 1 << 20
_LONGEST_MESSAGE = 300
_HOW = "Name an MLflow server: --to https://HOST, `mlflow` in [tool.mlnb], or MLFLOW_TRACKING_URI."


class MlflowServer:
    """One MLflow server; a context manager.

    Parameters
    ----------
    address : str
        ``http://`` or ``https://``, with the server's prefix if it has one.
    environ : mapping of str to str
        Where the ``MLFLOW_TRACKING_*`` variables are.

    Attributes
    ----------
    address : str
        Without user and password.
    """

    def __init__(self, address: str, environ: Mapping[str, str]) -> None:
        parts = _parts(address)
        self.address = _plain(address)
        self.loopback = parts.hostname in ("127.0.0.1", "localhost", "::1")
        user = unquote(parts.username or "") or environ.get("MLFLOW_TRACKING_USERNAME", "")
        password = unquote(parts.password or "") or environ.get("MLFLOW_TRACKING_PASSWORD", "")
        token = environ.get("MLFLOW_TRACKING_TOKEN", "")
        self._client = httpx.Client(
            auth=httpx.BasicAuth(user, password) if user else None,
            headers={"Authorization": f"Bearer {token}"} if token and not user else {},
            verify=_context(environ, parts.scheme),
            timeout=_TIMEOUT,
            follow_redirects=False,
        )

    def __enter__(self) -> MlflowServer:
        """Return the server itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        self._client.close()

    def version(self) -> str:
        """Return the version of the MLflow that answers, such as ``3.17.2``.

        Raises
        ------
        PlatformError
            If it is no MLflow of version 3 or newer.
        """
        text = self._ask("GET", "/version").text.strip()
        digits = text.split(".")[0]
        if not digits.isdecimal() or not all(part.isalnum() for part in text.split(".")):
            raise self._fault(f"says {text[:40]!r} where MLflow tells its version", 0)
        if int(digits) < 3:
            raise PlatformError(
                f"The server {self.address} is MLflow {text}.", "Use MLflow 3 or newer.", platform="mlflow"
            )
        return text

    def get(self, path: str, **query: str) -> Mapping[str, object]:
        """Return what ``GET /api/2.0/mlflow/<path>`` answers."""
        return self._json(self._ask("GET", f"/api/2.0/mlflow/{path}", query=query))

    def find(self, path: str, **query: str) -> Mapping[str, object] | None:
        """Return the same, None where the server knows no such thing."""
        try:
            return self.get(path, **query)
        except PlatformError as error:
            if error.status == httpx.codes.NOT_FOUND:
                return None
            raise

    def pages(self, path: str, key: str, **query: str) -> Iterator[Mapping[str, object]]:
        """Yield the items of a list that comes in pages."""
        token = ""
        while True:
            answer = self.get(path, **query, **({"page_token": token} if token else {}))
            items = answer.get(key, [])
            yield from (item for item in items if isinstance(item, dict)) if isinstance(items, list) else ()
            following = str(answer.get("next_page_token") or "")
            if not following or following == token:
                return
            token = following

    def post(self, path: str, body: Mapping[str, object]) -> Mapping[str, object]:
        """Return what ``POST`` of a JSON body answers."""
        return self._json(self._ask("POST", f"/api/2.0/mlflow/{path}", body=body))

    def patch(self, path: str, body: Mapping[str, object]) -> Mapping[str, object]:
        """Return what ``PATCH`` of a JSON body answers."""
        return self._json(self._ask("PATCH", f"/api/2.0/mlflow/{path}", body=body))

    def delete(self, path: str, body: Mapping[str, object]) -> None:
        """Send ``DELETE`` with a JSON body."""
        self._ask("DELETE", f"/api/2.0/mlflow/{path}", body=body)

    def list_files(self, folder: str) -> list[Mapping[str, object]]:
        """Return what the artifact proxy holds in a folder."""
        answer = self._json(self._ask("GET", "/api/2.0/mlflow-artifacts/artifacts", query={"path": folder}))
        found = answer.get("files", [])
        return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []

    def put_file(self, place: str, source: Path) -> None:
        """Upload a file to a place of the artifact proxy."""
        with source.open("rb") as file:
            self._ask("PUT", f"/api/2.0/mlflow-artifacts/artifacts/{quote(place)}", content=file)

    def get_file(self, place: str, target: Path, limit_bytes: int) -> None:
        """Download a file of the artifact proxy, at most `limit_bytes` of it.

        Raises
        ------
        PlatformError
            If it is larger.
        """
        request = self._client.build_request("GET", f"{self.address}/api/2.0/mlflow-artifacts/artifacts/{quote(place)}")
        try:
            answer = self._client.send(request, stream=True)
            try:
                if not answer.is_success:
                    answer.read()
                    self._check(answer)
                size = 0
                with target.open("wb") as file:
                    for chunk in answer.iter_bytes(_CHUNK_BYTES):
                        size += len(chunk)
                        if size > limit_bytes:
                            raise self._fault(f"sends more than {limit_bytes:,} bytes as {place}", 0)
                        file.write(chunk)
            finally:
                answer.close()
        except httpx.HTTPError as error:
            raise self._unreached(error) from error

    def _ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, object] | None = None,
        content: Iterable[bytes] | None = None,
    ) -> httpx.Response:
        sent = content if body is None else json.dumps(body, allow_nan=False).encode()
        headers = {"Content-Type": "application/json"} if body is not None else {}
        try:
            answer = self._client.request(
                method,
                self.address + path,
                params=query,
                content=sent,
                headers=headers,
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._unreached(error) from error
        self._check(answer)
        return answer

    def _check(self, answer: httpx.Response) -> None:
        if answer.is_success:
            return
        if answer.is_redirect:
            raise self._fault("redirects elsewhere, where no credentials are sent", answer.status_code)
        try:
            told = answer.json()
            said = f"{told['error_code']}: {told['message']}"
        except (ValueError, KeyError, TypeError):
            said = answer.reason_phrase or "an error"
        said = " ".join(said.split())[:_LONGEST_MESSAGE].rstrip(".")
        raise self._fault(f"refuses ({answer.status_code} {said})", answer.status_code)

    def _json(self, answer: httpx.Response) -> Mapping[str, object]:
        try:
            found = answer.json()
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise self._fault("answers with something else than JSON", answer.status_code)
        return found

    def _fault(self, what: str, status: int) -> PlatformError:
        remedy = "Check the address and the rights of the account."
        if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            remedy = "Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN."
        return PlatformError(f"The MLflow server {self.address} {what}.", remedy, platform="mlflow", status=status)

    def _unreached(self, error: Exception) -> PlatformError:
        said = str(error).rstrip(".") or type(error).__name__
        return PlatformError(
            f"The MLflow server {self.address} does not answer: {said}.",
            "See that it runs and that the address is right.",
            platform="mlflow",
        )


def part(answer: object, *names: str) -> Mapping[str, object]:
    """Return the object at a path in an answer.

    Raises
    ------
    PlatformError
        If the server does not answer as MLflow does.
    """
    found = _at(answer, names)
    if not isinstance(found, Mapping):
        raise _strange(names)
    return found


def text(answer: object, *names: str) -> str:
    """Return the text, or the number as a text, at a path in an answer.

    Raises
    ------
    PlatformError
        If the server does not answer as MLflow does.
    """
    found = _at(answer, names)
    if not isinstance(found, str | int) or not str(found):
        raise _strange(names)
    return str(found)


def tags_of(thing: Mapping[str, object], key: str = "tags") -> dict[str, str]:
    """Return the tags of a thing, or its parameters, as MLflow lists them."""
    found = thing.get(key, [])
    rows = found if isinstance(found, list) else []
    return {str(row["key"]): str(row.get("value", "")) for row in rows if isinstance(row, dict) and "key" in row}


def _at(found: object, names: Sequence[str]) -> object:
    for name in names:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _strange(names: Sequence[str]) -> PlatformError:
    return PlatformError(
        f"The server's answer holds no {'.'.join(names)}: it is not MLflow's.",
        "Check the address of the MLflow server.",
        platform="mlflow",
    )


def _parts(address: str) -> SplitResult:
    if not address:
        raise UsageError("No MLflow server is named.", _HOW)
    try:
        parts = urlsplit(address)
        known = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # no number as the port, an open bracket
        raise UsageError("This is not the address of an MLflow server.", _HOW) from None
    if not known:
        raise UsageError(f"{_plain(address)!r} is not the address of an MLflow server.", _HOW)
    return parts


def _plain(address: str) -> str:
    parts = urlsplit(address)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))


def _context(environ: Mapping[str, str], scheme: str) -> ssl.SSLContext:
    if scheme == "http":
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts nobody; reading whom the system trusts takes a while
    authority = environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH", "")
    certificate = environ.get("MLFLOW_TRACKING_CLIENT_CERT_PATH", "")
    try:
        context = ssl.create_default_context(cafile=authority or None)
        if certificate:
            context.load_cert_chain(certificate)
    except OSError as error:
        raise UsageError(
            f"A certificate for the MLflow server cannot be read: {error.strerror or error}.",
            "Check MLFLOW_TRACKING_SERVER_CERT_PATH and MLFLOW_TRACKING_CLIENT_CERT_PATH.",
        ) from error
    return context
