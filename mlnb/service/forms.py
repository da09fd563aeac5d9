"""Bodies in the forms of other model servers become rows, and answers become theirs: JSON, JSON lines and CSV.

``/invocations``
    MLflow's ``dataframe_split``, ``dataframe_records``, ``inputs`` and ``instances``, SageMaker's CSV and JSON lines,
    and our own become ``{"predictions": [...]}``, or CSV where ``Accept: text/csv`` asks for it.
``/v1/models/<model>:predict``
    ``instances`` of TensorFlow Serving, KServe and Vertex AI become ``{"predictions": [...]}``; TensorFlow Serving's
    ``inputs`` become ``{"outputs": [...]}``.
``/score``
    Azure ML's ``input_data`` becomes a bare list.

The ids of the predictions, which labels are joined by, are in the header ``X-Prediction-Ids`` of up to `IDS_TOLD` rows.

Sources: MLflow, "Deploy MLflow Model as a Local Inference Server"; Amazon SageMaker, "Common data formats for
inference"; TensorFlow Serving, "RESTful API"; KServe, "V1 Protocol"; Vertex AI, "Custom container requirements"; Azure
Machine Learning, "Deploy MLflow models to online endpoints".
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from mlnb.errors import RequestError
from mlnb.model.answers import Scores
from mlnb.model.kinds import Column
from mlnb.model.signature import Signature
from mlnb.service.protocols import (
    FAULTS_SHOWN,
    Json,
    PredictRequest,
    Row,
    document_of,
    encode,
    malformed,
    parse_document,
    parse_predict,
    refuse_many,
)

IDS_TOLD = 100
JSON = b"application/json"
Headers = tuple[tuple[bytes, bytes], ...]
_ASK_INVOCATIONS = "Send dataframe_split, dataframe_records, inputs, instances, CSV, JSON lines, or rows."
_ASK_INSTANCES = 'Send {"instances": [{"column": value, ...}, ...]}; rows may be lists in the order of the columns.'
_ASK_SCORE = 'Send {"input_data": {"columns": [...], "data": [[...], ...]}}.'
_LINES = ("application/jsonlines", "application/x-jsonlines", "application/x-ndjson")
# What curl sends where it is not told, and what need not be said, are taken as JSON, too.
_JSONS = ("", JSON.decode(), "application/x-www-form-urlencoded", "text/plain", "text/json")
_SPLIT = frozenset({"columns", "data", "index"})


class Written(Struct, frozen=True):
    """An answer's body, its media type and further headers."""

    body: bytes
    kind: bytes = JSON
    headers: Headers = ()


class Form(Protocol):
    """How one request is read and its answer written."""

    def read(self, body: bytes, signature: Signature, max_rows: int) -> PredictRequest:
        """Return the rows of a body; raises RequestError where it is not of the form."""

    def write(self, scores: Scores, ids: Sequence[str], version: str, signature: Signature) -> Written:
        """Return the answer to the rows that `read` has returned."""


class OwnForm:
    """``{"rows": [...]}`` or ``{"columns", "data"}``."""

    def read(self, body: bytes, signature: Signature, max_rows: int) -> PredictRequest:
        """Return the rows."""
        return parse_predict(body, max_rows)

    def write(self, scores: Scores, ids: Sequence[str], version: str, signature: Signature) -> Written:
        """Return predictions, what the model gives beside them, their ids and the version."""
        answer: dict[str, object] = {"predictions": scores.predictions}
        if scores.probabilities is not None:
            answer["probabilities"] = scores.probabilities
        if scores.scores is not None:
            answer["scores"] = scores.scores
        answer["ids"] = ids
        answer["version"] = version
        return Written(encode(answer))


class Invocations:
    """MLflow's and SageMaker's forms, and our own.

    Parameters
    ----------
    content_type, accept : str
        The headers' media types.
    """

    def __init__(self, content_type: str, accept: str) -> None:
        if content_type not in ("text/csv", *_LINES, *_JSONS):
            raise RequestError(f"Bodies of {content_type[:60]} are not taken.", _ASK_INVOCATIONS, status=415)
        self._content_type = content_type
        answered = content_type if accept in ("", "*/*") else accept
        self._csv, self._lines = answered == "text/csv", accept in _LINES

    def read(self, body: bytes, signature: Signature, max_rows: int) -> PredictRequest:
        """Return the rows."""
        if self._content_type == "text/csv":
            return _request(_csv_rows(body, signature, max_rows), max_rows)
        if self._content_type in _LINES:
            lines = [line for line in body.splitlines() if line.strip()]
            refuse_many(len(lines), max_rows)
            found = [_lines_row(parse_document(line, "Send one JSON row a line.", missing=True)) for line in lines]
            return _request(_listed(found, signature, "the body"), max_rows)
        document = _document(body, _ASK_INVOCATIONS, objects=("params",))
        document.pop("params", None)
        if len(document) == 1:
            (key, value), *_ = document.items()
            if key == "dataframe_split":
                return _request(_split(value, signature), max_rows)
            if key == "dataframe_records":
                return _request(_listed(value, signature, key), max_rows)
            if key in ("inputs", "instances"):
                return _request(_columnar(value, signature, key), max_rows)
        return parse_predict(body, max_rows)

    def write(self, scores: Scores, ids: Sequence[str], version: str, signature: Signature) -> Written:
        """Return ``predictions``, or one line for each row: CSV, or where they are asked for, JSON lines."""
        if self._lines:
            lines = b"".join(encode({"prediction": one}) + b"\n" for one in scores.predictions)
            return Written(lines, b"application/jsonlines", told(ids))
        if not self._csv:
            return Written(encode({"predictions": scores.predictions}), headers=told(ids))
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerows(one if isinstance(one, list) else [one] for one in scores.predictions)
        return Written(text.getvalue().encode(), b"text/csv; charset=utf-8", told(ids))


class Instances:
    """TensorFlow Serving's, KServe's and Vertex AI's forms."""

    def __init__(self) -> None:
        self._key = "predictions"

    def read(self, body: bytes, signature: Signature, max_rows: int) -> PredictRequest:
        """Return the rows."""
        document = _document(body, _ASK_INSTANCES, objects=("parameters",), texts=("signature_name",))
        keys = document.keys() - {"signature_name", "parameters"}
        if keys == {"instances"}:
            return _request(_listed(document["instances"], signature, "instances"), max_rows)
        if keys == {"inputs"}:
            self._key = "outputs"
            return _request(_columnar(document["inputs"], signature, "inputs"), max_rows)
        raise malformed(
            "The body has neither just instances nor just inputs.",
            [f"key {key!r:.60}" for key in sorted(keys)],
            _ASK_INSTANCES,
        )

    def write(self, scores: Scores, ids: Sequence[str], version: str, signature: Signature) -> Written:
        """Return the predictions."""
        return Written(encode({self._key: scores.predictions}), headers=told(ids))


class Score:
    """Azure ML's form for models without a scoring script."""

    def read(self, body: bytes, signature: Signature, max_rows: int) -> PredictRequest:
        """Return the rows."""
        document = _document(body, _ASK_SCORE, objects=("params",))
        value = document.get("input_data")
        if value is None or document.keys() - {"input_data", "params"}:
            raise malformed('The body is not an object with "input_data".', [], _ASK_SCORE)
        split = isinstance(value, dict) and {"columns", "data"} <= value.keys()
        return _request(_split(value, signature) if split else _columnar(value, signature, "input_data"), max_rows)

    def write(self, scores: Scores, ids: Sequence[str], version: str, signature: Signature) -> Written:
        """Return the predictions, bare."""
        return Written(encode(scores.predictions), headers=told(ids))


def told(ids: Sequence[str]) -> Headers:
    """Return the header with the ids, where there are not too many."""
    return ((b"x-prediction-ids", ",".join(ids).encode()),) if len(ids) <= IDS_TOLD else ()


def fitted(value: Json, column: Column) -> Json:
    """Return a whole number that was sent as a float as one, where the column holds whole numbers."""
    if isinstance(value, float) and "int" in column.dtype and value.is_integer():
        return int(value)
    return value


def placed(values: Sequence[Json], signature: Signature) -> Row:
    """Return values without names as a row, in the order of the signature's columns."""
    return {column.name: fitted(value, column) for column, value in zip(signature.inputs, values, strict=True)}


def _document(body: bytes, remedy: str, *, objects: Sequence[str], texts: Sequence[str] = ()) -> dict[str, Json]:
    """Return a body whose further keys, which mean nothing here, are at least what their protocol says, or null."""
    document = document_of(body, remedy, missing=True)
    for keys, kind, what in ((objects, dict, "an object"), (texts, str, "a string")):
        for key in keys:
            if document.get(key) is not None and not isinstance(document[key], kind):
                raise malformed(f'"{key}" is not {what}.', [], remedy)
    return document


def _request(rows: list[Row], max_rows: int) -> PredictRequest:
    refuse_many(len(rows), max_rows)
    return PredictRequest(rows, None)


def _listed(value: Json, signature: Signature, key: str) -> list[Row]:
    """Return a list of objects, lists or single values as rows."""
    if not isinstance(value, list):
        raise malformed(f'"{key}" is not a list.', [])
    width, rows, faults = len(signature.inputs), list[Row](), list[str]()
    for at, one in enumerate(value):
        if isinstance(one, dict):
            rows.append(one)
        elif isinstance(one, list) and len(one) == width:
            rows.append(placed(one, signature))
        elif not isinstance(one, list) and width == 1:
            rows.append(placed([one], signature))
        else:
            found = f"{len(one)} values" if isinstance(one, list) else "one value"
            faults.append(f"row {at} has {found} for {width} columns")
    if faults:
        raise malformed(f'Some rows of "{key}" do not fit the model\'s columns.', faults)
    return rows


def _columnar(value: Json, signature: Signature, key: str) -> list[Row]:
    """Return an object of columns, each a list of values, as rows; a list is that of rows."""
    if not isinstance(value, dict):
        return _listed(value, signature, key)
    columns = {name: one if isinstance(one, list) else [one] for name, one in value.items()}
    counts = {len(one) for one in columns.values()}
    if len(counts) != 1:
        raise malformed(
            f'The columns of "{key}" are not equally long.',
            [f"column {name!r:.60} has {len(one)} values" for name, one in columns.items()][:FAULTS_SHOWN],
        )
    known = {column.name: column for column in signature.inputs}
    fit = {name: [fitted(x, known[name]) for x in one] if name in known else one for name, one in columns.items()}
    return [dict(zip(fit, values, strict=True)) for values in zip(*fit.values(), strict=True)]


def _split(value: Json, signature: Signature) -> list[Row]:
    if not isinstance(value, dict) or value.keys() - _SPLIT or "data" not in value:
        raise malformed('The split frame is not an object with "columns" and "data".', [])
    columns, data = value.get("columns"), value["data"]
    if not isinstance(value.get("index"), list | None):
        raise malformed('"index" is not a list.', [])
    if columns is None:
        return _listed(data, signature, "data")
    kept = parse_predict(encode({"columns": columns, "data": data}), len(data) if isinstance(data, list) else 0).rows
    known = {column.name: column for column in signature.inputs}
    return [{name: fitted(one, known[name]) if name in known else one for name, one in row.items()} for row in kept]


def _lines_row(value: Json) -> Json:
    """Return a JSON line's row: SageMaker's ``{"features": [...]}`` is that list."""
    return value["features"] if isinstance(value, dict) and value.keys() == {"features"} else value


def _csv_rows(body: bytes, signature: Signature, max_rows: int) -> list[Row]:
    """Return CSV as rows; a first line with just the columns' names orders them, else they are in the model's order."""
    try:
        lines = [line for line in csv.reader(io.StringIO(body.decode("utf-8-sig")), strict=True) if line]
    except (UnicodeDecodeError, csv.Error) as error:
        raise malformed("The body is not CSV in UTF-8.", [str(error)]) from error
    columns: Sequence[Column] = signature.inputs
    known = {column.name: column for column in columns}
    if lines and set(lines[0]) == set(known) and len(lines[0]) == len(known):
        columns = [known[name] for name in lines.pop(0)]
    refuse_many(len(lines), max_rows)
    uneven = [f"line {at} has {len(line)} values" for at, line in enumerate(lines, 1) if len(line) != len(columns)]
    if uneven:
        raise malformed(f"Some lines do not have {len(columns)} values.", uneven[:FAULTS_SHOWN])
    return [{column.name: _read(text, column) for column, text in zip(columns, line, strict=True)} for line in lines]


def _read(text: str, column: Column) -> Json:
    """Return a CSV value as JSON: nothing is null, a number is one where the column holds numbers."""
    if not text:
        return None
    if column.dtype == "bool":
        return {"true": True, "false": False, "1": True, "0": False}.get(text.lower(), text)
    if column.dtype in ("string", "datetime"):
        return text
    try:
        return fitted(float(text), column) if not text.lstrip("+-").isdigit() else int(text)
    except ValueError:
        return text  # the signature's check says what is wrong with it


def media_type(headers: Mapping[bytes, bytes], name: bytes) -> str:
    """Return the media type in a header without its parameters, in lower case."""
    return headers.get(name, b"").decode("latin-1").partition(";")[0].strip().lower()
