"""One predict request and one loaded version become an answer and the records that are logged before it is sent."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter, time_ns

from msgspec import Struct
from msgspec.structs import replace

from mlnb.errors import ModelError, RequestError, SignatureError
from mlnb.model.answers import Scores
from mlnb.service.forms import Form, Instances, Invocations, OwnForm, Score, Written, media_type
from mlnb.service.log import BODY_CHARACTERS, Ids, Record
from mlnb.service.protocols import PredictRequest, Route, Row, encode
from mlnb.service.router import LoadedVersion, Routing
from mlnb.service.tensors import Tensors
from mlnb.service.tracing import mark
from mlnb.service.tracing import switch as tracing
from mlnb.service.unusual import Warned, by_row, told, told_in_header

_OWN = OwnForm()
_DIGITS = 18  # of a length: more than any body has, and few enough to be read as a number


class Predicted(Struct, frozen=True):
    """An answer that may be sent once `records` are committed.

    Attributes
    ----------
    written : Written
        In the form of the request; our own is ``{"predictions", "probabilities", "scores", "ids", "version"}``:
        probabilities only of a model that gives them, scores only of a ranker, whose predictions are the ordered items.
        `mlnb.model.answers.Scores` says more.
    records : list of Record
        One for each row; none where there is no log.
    version : str
        The version that answered.
    rows : int
        How many were answered.
    unusual : sequence of Warned
        What is unlike what the version has seen; the answer tells the first, in our own form as ``"warnings"``, else in
        the header ``X-Prediction-Warnings``.
    """

    written: Written
    records: list[Record]
    version: str
    rows: int
    unusual: Sequence[Warned] = ()


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
    if text and (not text.isdigit() or len(text) > _DIGITS):
        raise RequestError("Inference-Header-Content-Length is no number.", "Leave it away or correct it.", status=400)
    return Tensors(int(text) if text else None, route.model)


def opened(route: Route, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> tuple[Route, Form]:
    """Return the route of a predict request, with the model that a message of gRPC's names in itself, and its form.

    Raises
    ------
    RequestError
        400 where the body is no such message, or as `form_of` says.
    """
    if route.form != "message":
        return route, form_of(route, headers)
    from mlnb.service.grpc_tensors import open_infer

    return open_infer(body, route)


class Asked(Struct, frozen=True):
    """Rows that were read, and the version that answers them.

    Attributes
    ----------
    request : PredictRequest
        The rows.
    alias : str
        Behind which the version stands.
    version : LoadedVersion
        Live when the body had arrived.
    """

    request: PredictRequest
    alias: str
    version: LoadedVersion


class Scored(Struct, frozen=True):
    """Answers, and what is unlike what the version has seen; its rows are counted from the first."""

    scores: Scores
    unusual: Sequence[Warned] = ()


def read(body: bytes, routing: Routing, alias: str, form: Form, max_rows: int) -> Asked:
    """Return what one request asks.

    Parameters
    ----------
    body : bytes
        As received.
    routing : Routing
        What was live when the body had arrived.
    alias : str
        The alias that was asked; "" for the default.
    form : Form
        How the body is read.
    max_rows : int
        More rows are refused.

    Raises
    ------
    RequestError
        Where the body is not of the form, or no version is live.
    """
    if tracing.on:
        mark("receive")
    chosen, version = routing.version_of(alias)
    asked = Asked(form.read(body, version.scorer.signature, max_rows), chosen, version)
    if tracing.on:
        mark("parse")
    return asked


def score(version: LoadedVersion, rows: list[Row]) -> Scored:
    """Return a version's answers to rows of one request, or of several.

    Raises
    ------
    RequestError
        422 where rows do not fit, 500 where the model fails on them.
    """
    scorer = version.scorer
    try:
        columns = scorer.signature.check(rows)
        scores = scorer.score(columns)
    except SignatureError as error:
        raise RequestError(error.problem, error.remedy, status=422, faults=error.faults) from error
    except ModelError as error:  # the hook failed: not the caller's fault
        raise RequestError(error.problem, error.remedy, status=500) from error
    return Scored(scores, version.usual.look(rows, columns) if version.usual is not None else ())


def answer(
    asked: Asked, scored: Scored, form: Form, *, request_id: str, arrived: float, ids: Ids, logged: bool
) -> Predicted:
    """Return the answer in the request's form, and what is logged of it.

    Parameters
    ----------
    asked : Asked
        What `read` gave.
    scored : Scored
        What `score` gave.
    form : Form
        How the answer is written; the object that has read the body.
    request_id : str
        Goes into each record.
    arrived : float
        `time.perf_counter` when the body had arrived.
    ids : Ids
        Maker of the ids.
    logged : bool
        Whether there are records.
    """
    version, request, scores, unusual = asked.version, asked.request, scored.scores, scored.unusual
    names = ids.take(len(request.rows))
    if tracing.on:
        mark("score")
    written = form.write(scores, names, version.ref, version.scorer.signature)
    if unusual:
        written = _warning(written, form, unusual)
    if not logged:
        return Predicted(written, [], version.ref, len(names), unusual)
    now = time_ns()
    latency_ms = (perf_counter() - arrived) * 1000
    probabilities = scores.probabilities if scores.scores is None else scores.scores  # a ranker has no probabilities
    warned = by_row(unusual) if unusual else {}
    model = version.ref.rpartition("/")[0]
    records = [
        Record(
            names[at],
            request_id,
            now if request.event_at is None else request.event_at[at],
            now,
            model,
            version.number,
            asked.alias,
            200,
            latency_ms,
            encode(row).decode(),
            encode(scores.predictions[at]).decode(),
            None if probabilities is None else encode(probabilities[at]).decode(),
            None,
            warnings=warned.get(at),
        )
        for at, row in enumerate(request.rows)
    ]
    return Predicted(written, records, version.ref, len(names), unusual)


def predict(
    body: bytes,
    routing: Routing,
    alias: str,
    form: Form,
    *,
    request_id: str,
    arrived: float,
    max_rows: int,
    ids: Ids,
    logged: bool = True,
) -> Predicted:
    """Answer one request: `read`, `score` and `answer`, whose parameters these are.

    Raises
    ------
    RequestError
        Why nothing is answered.
    """
    asked = read(body, routing, alias, form, max_rows)
    scored = score(asked.version, asked.request.rows)
    return answer(asked, scored, form, request_id=request_id, arrived=arrived, ids=ids, logged=logged)


def _warning(written: Written, form: Form, unusual: Sequence[Warned]) -> Written:
    """Return an answer that tells what is unusual: in our own form as its last key, else in a header."""
    if form is _OWN:
        return replace(written, body=written.body[:-1] + b',"warnings":' + encode(told(unusual)) + b"}")
    header = (b"x-prediction-warnings", told_in_header(unusual))
    return replace(written, headers=(*written.headers, header))


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
        error=" ".join([error.problem, *error.faults])[:BODY_CHARACTERS],
    )
