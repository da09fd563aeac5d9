"""Requests that come together are answered as if each had come alone."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import numpy as np

from mlnb.errors import RequestError
from mlnb.service.batching import MOST_ROWS, Batcher
from mlnb.service.predict import Scored, score
from mlnb.service.router import Routing, load_routing
from mlnb.service.routing_files import place


def _rows(package: Path) -> list[dict[str, object]]:
    sample = json.loads((package / "sample.json").read_bytes())
    return [dict(zip(sample["columns"], row, strict=True)) for row in sample["data"]]


def test_what_gathers_in_one_turn_is_one_call_and_a_bad_row_is_refused_alone(
    tmp_path: Path, packages: dict[int, Path]
) -> None:
    place(tmp_path, "delays", packages, {"production": 1, "challenger": 2})
    routing = load_routing(tmp_path, Routing("", 0, {}, ""))
    first, second = routing.aliases["production"], routing.aliases["challenger"]
    rows = _rows(packages[1])
    far = {**rows[0], "age": 1e6}
    asked = [(first, rows[:1]), (second, rows[1:4]), (first, [rows[4], far]), (first, rows[6:9]), (second, rows[9:10])]
    spent: list[float] = []
    batcher = Batcher(spent.append)

    async def together(wrong: bool) -> list[Scored | BaseException]:
        waiting = [batcher.score(version, list(given)) for version, given in asked]
        if wrong:
            waiting.append(batcher.score(first, [{**rows[0], "age": "old"}]))
            batcher.score(first, [rows[0]]).cancel()  # its caller has left
        return await asyncio.gather(*waiting, return_exceptions=True)

    for wrong in (False, True):
        found = asyncio.run(together(wrong))
        for (version, given), one in zip(asked, found, strict=False):
            alone = score(version, list(given))
            assert isinstance(one, Scored)
            assert one.scores.predictions == alone.scores.predictions
            np.testing.assert_allclose(one.scores.probabilities, alone.scores.probabilities, rtol=1e-6)
            assert one.unusual == alone.unusual
        assert [one.row for one in found[2].unusual] == [1]  # type: ignore[union-attr]
        if wrong:
            assert isinstance(found[-1], RequestError)
            assert list(found[-1].faults) == ["rows[0]: column 'age' must be a number, but is the string 'old'"]
        else:
            assert (batcher.calls, batcher.requests) == (2, 5)  # one call of each version
            assert len(spent) == 2  # whose time is told once, not for each request


def test_a_batch_has_no_more_rows_than_its_limit_unless_one_request_has(
    tmp_path: Path, packages: dict[int, Path]
) -> None:
    place(tmp_path, "delays", packages, {"production": 1})
    version = load_routing(tmp_path, Routing("", 0, {}, "")).aliases["production"]
    row = _rows(packages[1])[0]
    batcher = Batcher([].append)

    async def together() -> list[Scored]:
        counts = (MOST_ROWS - 1, 2, 1, MOST_ROWS + 5)
        return await asyncio.gather(*(batcher.score(version, [row] * count) for count in counts))

    sizes = [len(one.scores.predictions) for one in asyncio.run(together())]
    assert sizes == [MOST_ROWS - 1, 2, 1, MOST_ROWS + 5]
    assert batcher.calls == 3  # the first and the third together, the second, the fourth
