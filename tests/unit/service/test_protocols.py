from __future__ import annotations

import json
from datetime import datetime

import pytest

from mlnb.errors import RequestError
from mlnb.service.protocols import encode, encode_refusal, parse_labels, parse_predict, request_id_of, route_of

ID = "18ea769af890dee6afce556b"


def test_rows_and_columns_with_data_say_the_same() -> None:
    rows = parse_predict(b'{"rows": [{"a": 1, "b": "x"}, {"a": null, "b": "y"}]}', 10)
    table = parse_predict(b'{"columns": ["a", "b"], "data": [[1, "x"], [null, "y"]]}', 10)
    assert rows == table
    assert rows.rows == [{"a": 1, "b": "x"}, {"a": None, "b": "y"}]
    assert rows.event_at is None


def test_timestamps_become_nanoseconds_whatever_their_zone() -> None:
    body = {"rows": [{}, {}], "timestamps": ["2013-04-01T05:15:00Z", "2013-04-01T07:15:00.250000+02:00"]}
    expected = datetime.fromisoformat("2013-04-01T05:15:00+00:00").timestamp()
    assert parse_predict(json.dumps(body).encode(), 10).event_at == [
        int(expected) * 10**9,
        int(expected) * 10**9 + 250_000_000,
    ]


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        (b"", 400, "not JSON"),
        (b"{", 400, "not JSON"),
        (b"\xff\xfe", 400, "not JSON"),
        (b'{"rows": [{"a": NaN}]}', 400, "not JSON"),
        (b"[" * 100_000, 400, "not JSON"),
        (b"[1]", 400, "a list, not an object"),
        (b"null", 400, "null, not an object"),
        (b"{}", 400, "keys found: none"),
        (b'{"row": []}', 400, "unknown key 'row'"),
        (b'{"rows": {"a": 1}}', 400, '"rows" is an object'),
        (b'{"rows": [{"a": 1}, [1]]}', 400, "row 1 is a list"),
        (b'{"rows": [{}], "data": [[]], "columns": []}', 400, "both"),
        (b'{"columns": ["a"]}', 400, "keys found: columns"),
        (b'{"columns": ["a", "a"], "data": [[1, 2]]}', 400, "column 'a'"),
        (b'{"columns": ["%s"], "data": [[1]]}' % b'", "'.join([b"a", *b"x y z".split()] * 20_000), 400, "column 'a'"),
        (b'{"%s": []}' % (b"k" * 100_000), 400, f"unknown key '{'k' * 59}"),
        (b'{"columns": [1], "data": [[1]]}', 400, "not a list of names"),
        (b'{"columns": ["a"], "data": [[1], [1, 2]]}', 400, "row 1 has 2 values for 1 columns"),
        (b'{"columns": ["a"], "data": [[1], 2]}', 400, "row 1 is a number"),
        (b'{"rows": [{}, {}, {}, {}]}', 413, "4 rows; this service takes 3"),
        (b'{"columns": [], "data": [[], [], [], []]}', 413, "4 rows"),
        (b'{"rows": [{}], "timestamps": []}', 400, "list of 1 times"),
        (b'{"rows": [{}], "timestamps": ["2013-04-01T05:15:00"]}', 422, "timestamp 0"),
        (b'{"rows": [{}], "timestamps": [5]}', 422, "timestamp 0 is 5"),
        (b'{"rows": [{}], "timestamps": ["2263-01-01T00:00:00Z"]}', 422, "timestamp 0"),
        (b'{"rows": [{}], "timestamps": ["0001-01-01T00:00:00+14:00"]}', 422, "timestamp 0"),
    ],
)
def test_a_malformed_body_is_refused_with_what_is_wrong(body: bytes, status: int, told: str) -> None:
    with pytest.raises(RequestError) as refused:
        parse_predict(body, 3)
    assert refused.value.status == status
    assert told in " ".join([refused.value.problem, *refused.value.faults])
    assert refused.value.remedy


def test_a_refusal_names_at_most_twenty_faults() -> None:
    with pytest.raises(RequestError) as refused:
        parse_predict(json.dumps({"rows": [1] * 500}).encode(), 1000)
    assert len(refused.value.faults) == 20


def test_labels_keep_their_json_type() -> None:
    body = json.dumps({"labels": {ID: True, ID[::-1]: "late", "0" * 24: 1.5}}).encode()
    assert parse_labels(body, 10) == {ID: "true", ID[::-1]: '"late"', "0" * 24: "1.5"}


@pytest.mark.parametrize(
    ("document", "status", "told"),
    [
        ({"labels": [1]}, 400, "just"),
        ({"labels": {}, "more": 1}, 400, "just"),
        ({"labels": {"7": 1}}, 422, "'7' is not a prediction id"),
        ({"labels": {ID: None}}, 422, f"{ID} is null"),
        ({"labels": {ID: [1]}}, 422, f"{ID} is a list"),
        ({"labels": {f"{n:024x}": 1 for n in range(4)}}, 413, "4 labels"),
    ],
)
def test_malformed_labels_are_refused(document: object, status: int, told: str) -> None:
    with pytest.raises(RequestError) as refused:
        parse_labels(json.dumps(document).encode(), 3)
    assert refused.value.status == status
    assert told in " ".join([refused.value.problem, *refused.value.faults])


def test_an_alias_is_read_from_the_path() -> None:
    assert route_of("POST", "/predict").alias == ""
    assert route_of("POST", "/aliases/staging/predict").alias == "staging"
    assert route_of("HEAD", "/healthz").name == "/healthz"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/predict", 405),
        ("POST", "/healthz", 405),
        ("GET", "/predictions", 404),
        ("POST", "/aliases/a/b/predict", 404),
    ],
)
def test_an_unknown_path_or_method_is_refused(method: str, path: str, status: int) -> None:
    with pytest.raises(RequestError) as refused:
        route_of(method, path)
    assert refused.value.status == status


@pytest.mark.parametrize("sent", [b"", b"x" * 129, b"a\nb", "ü".encode()])
def test_a_request_id_that_could_forge_a_header_is_not_taken(sent: bytes) -> None:
    assert request_id_of([(b"x-request-id", sent)]) == ""


def test_a_printable_request_id_is_taken() -> None:
    assert request_id_of([(b"host", b"x"), (b"x-request-id", b"trip 7/a")]) == "trip 7/a"


def test_an_infinite_prediction_is_sent_as_null() -> None:
    assert encode({"predictions": [float("nan"), float("inf"), 1.0]}) == b'{"predictions":[null,null,1.0]}'


def test_a_refusal_is_json_with_problem_remedy_and_faults() -> None:
    error = RequestError("No.", "Do.", status=422, faults=["row 0"])
    assert json.loads(encode_refusal(error)) == {"error": {"problem": "No.", "remedy": "Do.", "faults": ["row 0"]}}
