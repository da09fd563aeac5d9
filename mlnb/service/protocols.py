"""Paths become routes; HTTP bodies become requests, answers and refusals become HTTP bodies: our own JSON protocol.

``POST /predict`` and ``POST /aliases/<alias>/predict`` take ``{"rows": [{...}, ...]}`` or
``{"columns": [...], "data": [[...], ...]}``, either with ``"timestamps": [...]``, the time at which each row happened.
``POST /labels`` takes ``{"labels": {id: value}}``. ``GET /docs``, ``/openapi.json`` and ``/v2...``
(`mlnb.service.described`) say what there is to ask. ``/invocations``, ``/v1/models/<model>:predict``,
``/v2/models/<model>/infer`` and ``/score`` answer in the forms of other servers (`mlnb.service.forms`,
`mlnb.service.tensors`); so do the routes that Vertex AI names. A refusal is ``{"error": {"problem", "remedy",
"faults"}}``; of those forms, ``{"error": "..."}``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import TypeAlias

import msgspec

from mlnb.errors import RequestError
from mlnb.service.log import nanoseconds

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
Row: TypeAlias = "dict[str, Json]"

FAULTS_SHOWN = 20
_YEARS = (1700, 2199)  # nanoseconds of 64 bits, which the log keeps, reach from 1677 to 2262
_ID = re.compile(r"[0-9a-f]{24}")
_NAN = re.compile(rb'"(?:[^"\\]|\\.)*+"|NaN', re.DOTALL)  # texts, which may hold the word, are left as they are
_REQUEST_ID = re.compile(rb"[\x20-\x7e]{1,128}")
_ALIAS_ROUTE = re.compile(r"/aliases/([^/]*)/predict")
_MODEL_ROUTE = re.compile(r"/v2/models/[^/]+(/versions/[^/]+)?(/ready)?|/v1/models/[^/:]+(/(versions|labels)/[^/:]+)?")
_FOREIGN_ROUTE = re.compile(
    r"/v2/models/(?P<model>[^/]+)(/versions/(?P<number>[^/]+))?/infer"
    r"|/v1/models/(?P<model1>[^/:]+)(/versions/(?P<number1>[^/:]+)|/labels/(?P<alias>[^/:]+))?:predict"
)
_FORMS = 'Send {"rows": [{"column": value, ...}, ...]} or {"columns": [...], "data": [[...], ...]}.'
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class PredictRequest(msgspec.Struct, frozen=True):
    """Rows to answer.

    Attributes
    ----------
    rows : list of dict
        One mapping of column to JSON value for each row, as received.
    event_at : list of int or None
        Nanoseconds since the epoch, UTC, for each row; None where the caller did not say.
    """

    rows: list[Row]
    event_at: list[int] | None


@dataclass(frozen=True, slots=True)
class Route:
    """What a path means.

    Attributes
    ----------
    name : str
        As it is counted in the metrics.
    alias : str
        That it asks for; "" is the default.
    method : str
        ``GET`` (and ``HEAD``) or ``POST``.
    path : str
        Itself, where it asks for a description.
    form : str
        ``invocations``, ``instances``, ``score`` or ``tensors``; "" is our own.
    model, number : str
        That it names; "" where it names none.
    """

    name: str
    alias: str
    method: str
    path: str = ""
    form: str = ""
    model: str = ""
    number: str = ""


_ROUTES = {
    "/predict": Route("/predict", "", "POST"),
    "/labels": Route("/labels", "", "POST"),
    "/explain": Route("/explain", "", "POST"),
    "/healthz": Route("/healthz", "", "GET"),
    "/readyz": Route("/readyz", "", "GET"),
    "/invocations": Route("/invocations", "", "POST", form="invocations"),  # MLflow's and SageMaker's
    "/ping": Route("/readyz", "", "GET"),
    "/health": Route("/readyz", "", "GET"),  # MLflow's
    "/score": Route("/score", "", "POST", form="score"),  # Azure ML's
    "/metrics": Route("/metrics", "", "GET"),
    **{
        path: Route(path, "", "GET", path)
        for path in ("/", "/docs", "/openapi.json", "/v1/models", "/v2", "/v2/health/live", "/v2/health/ready")
    },
    "/v2/repository/index": Route("/v2/repository/index", "", "POST", "/v2/repository/index"),  # Triton's
}


def route_of(method: str, path: str, further: Mapping[str, Route] = MappingProxyType({})) -> Route:
    """Return the route of a request.

    Raises
    ------
    RequestError
        404 for an unknown path, 405 for another method than the route's.
    """
    route = further.get(path) or _ROUTES.get(path) or _route_by_form(path)
    if method != route.method and not (method == "HEAD" and route.method == "GET"):
        allow = "GET, HEAD" if route.method == "GET" else route.method
        raise RequestError(
            f"{route.name} does not take {method[:20]}.", f"Use {route.method}.", status=405, allow=allow
        )
    return route


def named_routes(predict: str, health: str) -> dict[str, Route]:
    """Return the routes whose paths Vertex AI chooses; "" is none."""
    routes = {predict: Route("/vertex", "", "POST", form="instances"), health: Route("/readyz", "", "GET")}
    return {path: route for path, route in routes.items() if path}


def _route_by_form(path: str) -> Route:
    if match := _ALIAS_ROUTE.fullmatch(path):
        return Route("/aliases/{alias}/predict", match[1], "POST")
    if match := _FOREIGN_ROUTE.fullmatch(path):
        if match["model"] is not None:
            return Route("/v2/models/{model}/infer", "", "POST", "", "tensors", match["model"], match["number"] or "")
        alias, number = match["alias"] or "", match["number1"] or ""
        return Route("/v1/models/{model}:predict", alias, "POST", "", "instances", match["model1"], number)
    if _MODEL_ROUTE.fullmatch(path):
        return Route("/".join(path.split("/", 3)[:3]) + "/{model}", "", "GET", path)
    raise RequestError(
        f"There is nothing at {path[:200]}.",
        "Known paths: /predict, /aliases/<alias>/predict, /explain, /labels, /invocations, /score, "
        "/v1/models/<model>:predict, /v2/models/<model>/infer, /healthz, /readyz, /metrics, /docs, /openapi.json.",
        status=404,
    )


def parse_predict(body: bytes, max_rows: int) -> PredictRequest:
    """Return the rows of a predict request.

    Raises
    ------
    RequestError
        400 where the body is not JSON or not of the form, 413 for more than `max_rows` rows, 422 for timestamps that
        are no times.
    """
    document = document_of(body, _FORMS)
    strange = sorted(document.keys() - {"rows", "columns", "data", "timestamps"})
    if strange:
        raise malformed("The body has keys that mean nothing here.", [f"unknown key {key!r:.60}" for key in strange])
    if "rows" in document:
        if "columns" in document or "data" in document:
            raise malformed('The body has both "rows" and "columns" with "data".', [])
        rows = _rows(document["rows"], max_rows)
    elif "columns" in document and "data" in document:
        rows = _split_rows(document["columns"], document["data"], max_rows)
    else:
        raise malformed("The body has no rows.", [f"keys found: {', '.join(sorted(document)) or 'none'}"])
    timestamps = document.get("timestamps")
    return PredictRequest(rows, None if timestamps is None else _event_times(timestamps, len(rows)))


def parse_labels(body: bytes, max_labels: int, outputs: Collection[tuple[str, ...]] = ()) -> dict[str, str]:
    """Return the label of each prediction id, as JSON text.

    Parameters
    ----------
    body : bytes
        As received.
    max_labels : int
        As many are taken.
    outputs : collection of tuple of str
        Of each version that answers with several values their names; a label may then be a list with a value for each,
        null where it is not known yet, or an object with some of them by name.

    Raises
    ------
    RequestError
        400 where the body is not of the form, 413 for more than `max_labels`, 422 for an id that no prediction can
        have or a label that is not a string, number or boolean, nor a list or object of them that fits the outputs.
    """
    form = 'Send {"labels": {"<prediction id>": value, ...}}.'
    document = document_of(body, form)
    labels = document.get("labels")
    if not isinstance(labels, dict) or len(document) != 1:
        raise RequestError('The body is not an object with just "labels".', form, status=400)
    if len(labels) > max_labels:
        raise _too_many(len(labels), "labels", max_labels)
    faults = [f"{key[:60]!r} is not a prediction id" for key in labels if not _ID.fullmatch(key)]
    faults += [
        f"the label of {key} is {_kind(value)}" for key, value in labels.items() if not _is_label(value, outputs)
    ]
    if faults:
        raise RequestError(
            "Labels were refused; none was recorded.",
            _label_remedy(outputs),
            status=422,
            faults=faults[:FAULTS_SHOWN],
        )
    return {key: encode(value).decode() for key, value in labels.items()}


def _is_label(value: object, outputs: Collection[tuple[str, ...]]) -> bool:
    if isinstance(value, str | int | float):
        return True
    if isinstance(value, list):
        return any(len(names) == len(value) for names in outputs) and _some(value)
    if isinstance(value, dict):
        return any(value.keys() <= set(names) for names in outputs) and _some(value.values())
    return False


def _some(values: Collection[object]) -> bool:
    """Say whether at least one value is known, and none is a list or an object."""
    known = [value for value in values if value is not None]
    return bool(known) and all(isinstance(value, str | int | float) for value in known)


def _label_remedy(outputs: Collection[tuple[str, ...]]) -> str:
    plain = 'Use the "ids" of a predict answer, each with a string, number or boolean'
    if not outputs:
        return f"{plain}."
    names = max(outputs, key=len)
    told = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
    return f"{plain}, or with a list of {len(names)} values ({told}), or with some of them by name."


def request_id_of(headers: Sequence[tuple[bytes, bytes]]) -> str:
    """Return the caller's ``X-Request-Id``; "" where there is none of 1 to 128 printable ASCII characters."""
    for name, value in headers:
        if name == b"x-request-id":
            return value.decode("ascii") if _REQUEST_ID.fullmatch(value) else ""
    return ""


def encode(value: object) -> bytes:
    """Return JSON; a NaN or an infinity becomes null."""
    return _encode(value)


def encode_refusal(error: RequestError, *, plain: bool = False) -> bytes:
    """Return the body of a refused request; `plain` where the caller's protocol knows just one text."""
    if plain:
        return _encode({"error": " ".join([error.problem, *(f"{fault}." for fault in error.faults), error.remedy])})
    return _encode({"error": {"problem": error.problem, "remedy": error.remedy, "faults": error.faults}})


def parse_document(body: bytes, form: str, *, missing: bool = False) -> Json:
    """Return JSON; raise RequestError, 400, where it is none, with `form` as the remedy.

    `missing` takes a bare NaN as null: Python writes one for a missing number, and so do the clients of MLflow and
    Triton. An infinity is refused like all that JSON does not know.
    """
    try:
        document: Json = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        if missing and b"NaN" in body:
            return parse_document(_NAN.sub(lambda found: b"null" if found[0] == b"NaN" else found[0], body), form)
        raise RequestError("The body is not JSON.", form, status=400, faults=[str(error)]) from error
    return document


def document_of(body: bytes, form: str = _FORMS, *, missing: bool = False) -> dict[str, Json]:
    """Return a JSON object; raise RequestError, 400, where it is none, as `parse_document` does."""
    document = parse_document(body, form, missing=missing)
    if not isinstance(document, dict):
        raise RequestError(f"The body is {_kind(document)}, not an object.", form, status=400)
    return document


def _rows(rows: Json, max_rows: int) -> list[Row]:
    if not isinstance(rows, list):
        raise malformed(f'"rows" is {_kind(rows)}, not a list of objects.', [])
    refuse_many(len(rows), max_rows)
    faults = [f"row {at} is {_kind(row)}, not an object" for at, row in enumerate(rows) if not isinstance(row, dict)]
    if faults:
        raise malformed("Some rows are not objects.", faults)
    return rows  # type: ignore[return-value]  # each has just been looked at


def _split_rows(columns: Json, data: Json, max_rows: int) -> list[Row]:
    if not isinstance(columns, list) or not all(isinstance(column, str) for column in columns):
        raise malformed('"columns" is not a list of names.', [])
    names = [column for column in columns if isinstance(column, str)]
    twice = sorted(name for name, count in Counter(names).items() if count > 1) if len(set(names)) < len(names) else []
    if twice:
        raise malformed("Some columns are named twice.", [f"column {name!r:.60}" for name in twice])
    if not isinstance(data, list):
        raise malformed(f'"data" is {_kind(data)}, not a list of lists.', [])
    refuse_many(len(data), max_rows)
    rows: list[Row] = []
    faults: list[str] = []
    for at, values in enumerate(data):
        if not isinstance(values, list):
            faults.append(f"row {at} is {_kind(values)}, not a list")
        elif len(values) != len(names):
            faults.append(f"row {at} has {len(values)} values for {len(names)} columns")
        else:
            rows.append(dict(zip(names, values, strict=True)))
    if faults:
        raise malformed('Some rows of "data" do not fit "columns".', faults)
    return rows


def _event_times(timestamps: Json, count: int) -> list[int]:
    if not isinstance(timestamps, list) or len(timestamps) != count:
        raise malformed(f'"timestamps" is not a list of {count} times, one for each row.', [])
    times: list[int] = []
    faults: list[str] = []
    for at, text in enumerate(timestamps):
        try:
            happened = datetime.fromisoformat(text) if isinstance(text, str) else None
        except ValueError:
            happened = None
        if happened is None or happened.tzinfo is None or not _YEARS[0] <= happened.year <= _YEARS[1]:
            faults.append(f"timestamp {at} is {encode(text).decode()[:60]}")
        else:
            times.append(nanoseconds(happened))
    if faults:
        raise RequestError(
            "Some timestamps are not times with a zone.",
            f'Write them in ISO 8601 with their zone, such as "2013-04-01T05:15:00Z", from {_YEARS[0]} to {_YEARS[1]}.',
            status=422,
            faults=faults[:FAULTS_SHOWN],
        )
    return times


def malformed(problem: str, faults: Sequence[str], remedy: str = _FORMS) -> RequestError:
    """Return the refusal of a body that is not of the form."""
    return RequestError(problem, remedy, status=400, faults=faults[:FAULTS_SHOWN])


def refuse_many(rows: int, limit: int) -> None:
    """Raise RequestError, 413, for more rows than one request may have."""
    if rows > limit:
        raise _too_many(rows, "rows", limit)


def _too_many(found: int, things: str, limit: int) -> RequestError:
    return RequestError(
        f"The body has {found} {things}; this service takes {limit} in one request.",
        "Send them in several requests.",
        status=413,
    )


def _kind(value: Json | Mapping[str, Json]) -> str:
    names = {type(None): "null", bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "a list"}
    return names.get(type(value), "an object")
