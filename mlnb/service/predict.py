"""One predict request and one loaded version become an answer and the records that are logged before it is sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter, time_ns

from mlnb.errors import ModelError, RequestError, SignatureError
from mlnb.model.answers import Scores
from mlnb.service.forms import Form, Instances, Invocations, OwnForm, Score, Written, media_type
from mlnb.service.log import BODY_CHARACTERS, Ids, Record
from mlnb.service.protocols import Route, Row, encode
from mlnb.service.router import LoadedVersion, Routing
from mlnb.service.tensors import Tensors

_OWN = OwnForm()


@dataclass(frozen=True, slots=True)
class Predicted:
    """An answer that may be sent once `records` are committed.

    Attributes
    ----------
    written : Written
        In the form of the request; our own is ``{"predictions", "probabilities", "scores", "ids", "version"}``:
        probabilities only of a model that gives them, scores only of a ranker, whose predictions are the ordered items.
        `mlnb.model.answers.Scores` says more.
    records : list of Record
        One for each row.
    version : str
        The version that answered.
    """

    written: Written
    records: list[Record]
    version: str


def form_of(route: Route, headers: Sequence[tuple[bytes, bytes]]) -> Form:
    """Return the form of a request: that of its route, as its headers say.

    Raises
    ------
    RequestError
        400 for an ``Inference-Header-Content-Length`` that is no number.
    """
    if not route.form:
        return _OWN
    known = dict(headers)
    if route.form == "instances":
        return Instances()
    if route.form == "score":
        return Score()
    if route.form == "invocations":
        return Invocations(media_type(known, b"content-type"), media_type(known, b"accept"))
    text = known.get(b"inference-header-content-length", b"")
    if text and not text.isdigit():
        raise RequestError("Inference-Header-Content-Length is no number.", "Leave it away or correct it.", status=400)
    return Tensors(int(text) if text else None, route.model)


def predict(
    body: bytes, routing: Routing, alias: str, form: Form, *, request_id: str, arrived: float, max_rows: int, ids: Ids
) -> Predicted:
    """Answer one request.

    Parameters
    ----------
    body : bytes
        As received.
    routing : Routing
        What was live when the body had arrived.
    alias : str
        The alias that was asked; "" for the default.
    form : Form
        How the body is read and the answer written.
    request_id : str
        Goes into each record.
    arrived : float
        `time.perf_counter` when the body had arrived.
    max_rows : int
        More rows are refused.
    ids : Ids
        Maker of the ids.

    Raises
    ------
    RequestError
        Why nothing is answered.
    """
    chosen, version = routing.version_of(alias)
    signature = version.scorer.signature
    request = form.read(body, signature, max_rows)
    rows = request.rows
    scores = _scores(version, rows)
    names = ids.take(len(rows))
    written = form.write(scores, names, version.ref, signature)
    now = time_ns()
    latency_ms = (perf_counter() - arrived) * 1000
    probabilities = scores.probabilities if scores.scores is None else scores.scores  # a ranker has no probabilities
    records = [
        Record(
            names[at],
            request_id,
            now if request.event_at is None else request.event_at[at],
            now,
            routing.model,
            version.number,
            chosen,
            200,
            latency_ms,
            encode(row).decode(),
            encode(scores.predictions[at]).decode(),
            None if probabilities is None else encode(probabilities[at]).decode(),
            None,
        )
        for at, row in enumerate(rows)
    ]
    return Predicted(written, records, version.ref)


def refusal(
    error: RequestError, body: bytes, routing: Routing, alias: str, *, request_id: str, arrived: float, ids: Ids
) -> Record:
    """Return the record of a request that was refused."""
    chosen = alias or routing.default
    version = routing.aliases.get(chosen)
    now = time_ns()
    return Record(
        id=ids.take(1)[0],
        request_id=request_id,
        event_at=now,
        logged_at=now,
        model=routing.model,
        version=version.number if version else 0,
        alias=chosen[:64],
        status=error.status,
        latency_ms=(perf_counter() - arrived) * 1000,
        inputs=body[:BODY_CHARACTERS].decode("utf-8", "replace"),
        prediction=None,
        probabilities=None,
        error=" ".join([error.problem, *error.faults]),
    )


def _scores(version: LoadedVersion, rows: list[Row]) -> Scores:
    scorer = version.scorer
    try:
        return scorer.score(scorer.signature.check(rows))
    except SignatureError as error:
        raise RequestError(error.problem, error.remedy, status=422, faults=error.faults) from error
    except ModelError as error:  # the hook failed: not the caller's fault
        raise RequestError(error.problem, error.remedy, status=500) from error
