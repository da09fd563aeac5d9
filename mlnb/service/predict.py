"""One predict request and one loaded version become an answer and the records that are logged before it is sent."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter, time_ns

from mlnb.errors import ModelError, RequestError, SignatureError
from mlnb.model.answers import Scores
from mlnb.service.log import BODY_CHARACTERS, Ids, Record
from mlnb.service.protocols import Row, encode, parse_predict
from mlnb.service.router import LoadedVersion, Routing


@dataclass(frozen=True, slots=True)
class Predicted:
    """An answer that may be sent once `records` are committed.

    Attributes
    ----------
    body : bytes
        ``{"predictions", "probabilities", "scores", "ids", "version"}``: probabilities only of a model that gives them,
        scores only of a ranker, whose predictions are the ordered items. `mlnb.model.answers.Scores` says more.
    records : list of Record
        One for each row.
    version : str
        The version that answered.
    """

    body: bytes
    records: list[Record]
    version: str


def predict(
    body: bytes, routing: Routing, alias: str, *, request_id: str, arrived: float, max_rows: int, ids: Ids
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
    request = parse_predict(body, max_rows)
    rows = request.rows
    scores = _scores(version, rows)
    names = ids.take(len(rows))
    answer: dict[str, object] = {"predictions": scores.predictions}
    if scores.probabilities is not None:
        answer["probabilities"] = scores.probabilities
    if scores.scores is not None:
        answer["scores"] = scores.scores
    answer["ids"] = names
    answer["version"] = version.ref
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
    return Predicted(encode(answer), records, version.ref)


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
