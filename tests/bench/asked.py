"""Look for versions, and ask who held an alias when, in a ledger of 1,000 and of 10,000 versions: what grows with it.

The ledger is filled past our code, ten audit rows and one move of ``production`` for each version; milliseconds are
those of the processor, so that what else the machine does hardly counts.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import insert, update

from mlnb.registry.audit import Audit
from mlnb.registry.canonical import canonical, time_text
from mlnb.registry.lineage import Lineage, Step
from mlnb.registry.reference import parse_reference
from mlnb.registry.registry import Registry
from mlnb.registry.search import parse_query
from mlnb.registry.tenure import held, read_span
from mlnb.store.files import FileStore
from mlnb.store.ledger import Ledger
from mlnb.store.tables import ALIAS, AUDIT, AUDIT_HEAD, MODEL, PROMOTION, TAG, VERSION
from tests.bench.place import Place
from tests.bench.table import Table, ratio

_SIZES = (1_000, 10_000)
_BEGIN = datetime(2020, 1, 1, tzinfo=UTC)
_NOW = datetime(2026, 3, 3, tzinfo=UTC)
_REPEATS = 5
_MOST_GROWTH = 3.0
_ASKED = "who held it at a moment"


def bench(place: Place) -> Table:
    """Measure each question in both ledgers; who held an alias at a moment must hardly grow."""
    folder = place.make("asked")
    small, large = (_measured(folder / str(size), size, max(place.count, _REPEATS)) for size in _SIZES)
    rows = [[name, f"{small[name]:.1f}", f"{large[name]:.1f}", ratio(large[name], small[name])] for name in small]
    return Table(
        "asked: milliseconds of the processor",
        ["question", *(f"{size:,} versions" for size in _SIZES), "growth"],
        rows,
        [f"Limit: {_MOST_GROWTH:g}x for {_ASKED!r}, though the ledger is ten times as large."],
        held=large[_ASKED] < _MOST_GROWTH * small[_ASKED],
    )


def _measured(folder: Path, size: int, repeats: int) -> dict[str, float]:
    folder.mkdir()
    with Ledger(folder / "ledger.db") as ledger:
        _fill(ledger, size)
        registry, audit = Registry(ledger, FileStore(folder / "artifacts")), Audit(ledger)

        def look(*words: str) -> Callable[[], object]:
            return lambda: registry.search(parse_query(words, _NOW))

        def ask(when: str) -> Callable[[], object]:
            return lambda: held(registry, audit, parse_reference("m@production"), read_span(when, _NOW))

        questions = {
            "auc >= 0.99": look("auc >= 0.99"),
            "tag:owner=p7": look("tag:owner=p7"),
            "data:flights.csv auc > 0.995": look("data:flights.csv", "auc > 0.995"),
            "since and until": look("since:2020-02-01", "until:2020-02-02"),
            _ASKED: ask("2020-02-05T12:30"),
            "who held it on a day (24 versions)": ask("2020-02-05"),
        }
        return {name: _ms(question, repeats) for name, question in questions.items()}


def _ms(question: Callable[[], object], repeats: int) -> float:
    question()
    taken = []
    for _ in range(repeats):
        begun = time.process_time()
        question()
        taken.append((time.process_time() - begun) * 1000)
    return statistics.median(taken)


def _fill(ledger: Ledger, size: int) -> None:
    steps = tuple(Step(f"stage{number}", key=f"sha256:{number:064x}") for number in range(6))
    data = (("flights.csv", f"sha256:{1:064x}"),)
    lineage = canonical(Lineage(run="r", notebook="n.ipynb", data=data, parameters={"depth": 3}, steps=steps).to_json())
    hours = [time_text(_BEGIN + timedelta(hours=hour)) for hour in range(size + 1)]
    numbers = range(1, size + 1)
    move = {"model": "m", "alias": "production", "kind": "promote", "by": "ada", "reason": "", "verdicts": "[]"}
    move |= {"forced": False, "beneath": None, "undoes": None}  # type: ignore[dict-item]
    whole = {"model": "m", "created_by": "ada", "exporter": "onnx", "lineage": lineage, "signature": "{}"}
    whole |= {"parity": "{}", "files": "{}", "seal": "", "key": ""}
    with ledger.write() as connection:
        connection.execute(insert(MODEL), {"name": "m", "last_number": size, "created_at": hours[0]})
        metrics = [canonical({"auc": number % 1000 / 1000, "f1": 0.5}) for number in numbers]
        connection.execute(
            insert(VERSION),
            [
                {**whole, "number": number, "content": str(number), "created_at": hours[number], "metrics": told}
                for number, told in zip(numbers, metrics, strict=True)
            ],
        )
        connection.execute(
            insert(TAG), [{"model": "m", "number": one, "name": "owner", "value": f"p{one % 50}"} for one in numbers]
        )
        connection.execute(
            insert(PROMOTION),
            [{**move, "id": one, "from_number": one - 1, "to_number": one, "at": hours[one]} for one in numbers],
        )
        connection.execute(insert(ALIAS), {"model": "m", "name": "production", "number": size, "promotion": size})
        connection.execute(insert(AUDIT), [_audit_row(row, hours) for row in range(1, 10 * size + 1)])
        connection.execute(update(AUDIT_HEAD), {"rows": 10 * size, "digest": "sha256:"})


def _audit_row(row: int, hours: list[str]) -> dict[str, object]:
    """Nine judgements of a version, then its promotion."""
    number, rest = divmod(row, 10)
    judged = {"action": "judge", "subject": f"m/{number + 1}", "detail": json.dumps({"evidence": {"auc": 0.5}})}
    moved = {"action": "promote", "subject": "m@production", "detail": json.dumps({"to": number})}
    return {"id": row, "at": hours[number], "actor": "ada", "previous": "", "digest": f"{row}"} | (
        judged if rest else moved
    )
