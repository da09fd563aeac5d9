"""What a request comes to, an answer or a refusal, becomes what is sent; a failure of the service is told in its log.

Carried into the service: the standard library and msgspec.
"""

from __future__ import annotations

import logging
import traceback

from msgspec import Struct

from mlnb.errors import RequestError
from mlnb.service.forms import JSON, Headers
from mlnb.service.protocols import encode_refusal

_LOGGER = logging.getLogger("mlnb.service")
_USERS, _OURS = "hooks.py", "mlnb/model/hooks.py"


class Answer(Struct, frozen=True):
    """What is sent; `version` and `rows` are counted in the metrics."""

    status: int
    body: bytes
    kind: bytes = JSON
    headers: Headers = ()
    version: str = ""
    rows: int = 0
    allow: str = ""


def refused(error: RequestError, plain: bool, request_id: str) -> Answer:
    """Return what a refused request is told; where it is the service's fault, its log says so under the request's id.

    Parameters
    ----------
    plain : bool
        Whether the request's protocol knows errors as one text.
    """
    if error.status >= 500 and not error.retry_after_s:
        _LOGGER.error(
            "Request %s was answered %d: %s%s",
            request_id,
            error.status,
            error.problem,
            _place(error),
            extra={"request_id": request_id},
        )
    headers: Headers = ((b"retry-after", str(error.retry_after_s).encode()),) if error.retry_after_s else ()
    if error.challenge:
        headers = (*headers, (b"www-authenticate", error.challenge.encode()))
    return Answer(error.status, encode_refusal(error, plain=plain), headers=headers, allow=error.allow)


def broken(request_id: str, plain: bool) -> Answer:
    """Return what a caller is told of an error that nobody has foreseen: where it is to be found in the log."""
    error = RequestError(
        "The service failed on this request.", f"Look for request {request_id} in the service's log.", status=500
    )
    return Answer(500, encode_refusal(error, plain=plain))


def _place(error: BaseException) -> str:
    """Return the line of the user's own code that an error comes from, "" for none."""
    cause = error.__cause__
    while cause is not None:
        frames = traceback.extract_tb(cause.__traceback__)
        own = [one for one in frames if one.filename.endswith(_USERS) and not one.filename.endswith(_OURS)]
        if own:
            return f" ({own[-1].filename}, line {own[-1].lineno}, in {own[-1].name})"
        cause = cause.__cause__
    return ""
