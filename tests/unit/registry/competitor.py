"""One of several processes that register, promote and roll back at once.

Says "ready", waits for a line, works, prints what it was given as JSON. `faults` looks at what all of them have left.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from mlnb.errors import RegistryError
from mlnb.registry.audit import Audit
from mlnb.registry.registry import Registry
from mlnb.registry.version import Draft
from mlnb.store.files import FileStore
from mlnb.store.ledger import Ledger

Given = dict[str, list[int]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How many acts were done, and what is wrong with them."""

    acts: int
    wrong: tuple[str, ...]


def compete(folder: Path, address: str, me: str, rounds: int) -> Given:
    store = FileStore(folder / "artifacts")
    mine, shared = [], []
    with Ledger(address or folder / "ledger.db") as ledger:
        registry = Registry(ledger, store)
        for number in range(rounds):
            own = {"model.onnx": store.put(f"{me} {number}".encode())[0]}
            common = {"model.onnx": store.put(f"everybody's {number}".encode())[0]}
            mine.append(registry.register(Draft("delays", me, "onnx", own)).number)
            shared.append(registry.register(Draft("shared", me, "onnx", common)).number)
            registry.promote(f"delays/{mine[-1]}", "production", by=me)
            if rounds > 20 or number % 3 == 2:
                try:
                    registry.rollback("delays", "production", by=me)
                except RegistryError:  # the others had rolled everything back already
                    continue
    return {"mine": mine, "shared": shared}


def faults(folder: Path, address: str, results: Sequence[Given], rounds: int) -> Outcome:
    """Return what is not as it must be after all have ended."""
    with Ledger(address or folder / "ledger.db") as ledger:
        registry = Registry(ledger, FileStore(folder / "artifacts"))
        made = len(results) * rounds
        given = sorted(number for result in results for number in result["mine"])
        moves = registry.history("delays", "production")
        report = Audit(ledger).verify(FileStore(folder / "artifacts"))
        checks = {
            "numbers are given twice or not at all": given == list(range(1, made + 1)),
            "versions are not those that were given": [one.number for one in registry.list("delays")] == given,
            "equal drafts are not one version": all(result["shared"] == results[0]["shared"] for result in results),
            "shared versions have gaps": [one.number for one in registry.list("shared")] == list(range(1, rounds + 1)),
            "a promotion is lost": sum(move.kind == "promote" for move in moves) == made,
            "two held the alias": moves[0].from_number == 0
            and all(after.from_number == before.to_number for before, after in pairwise(moves)),
            "a time went back": all(after.at >= before.at for before, after in pairwise(moves)),
            "the alias is elsewhere": registry.aliases("delays") == {"production": moves[-1].to_number},
            "a rollback went astray": _replayed(moves),
            f"not intact: {report.sentence}": report.ok,
            "acts without a row": report.rows == made + rounds + len(moves),
        }
    return Outcome(made + rounds + len(moves), tuple(text for text, holds in checks.items() if not holds))


def _replayed(moves: Sequence[object]) -> bool:
    stack: list[int] = []
    for move in moves:
        if move.kind == "promote":
            stack.append(move.to_number)
        else:
            stack.pop()
        if move.to_number != stack[-1]:
            return False
    return True


if __name__ == "__main__":
    print("ready", flush=True)
    sys.stdin.readline()
    where, name, count, *places = sys.argv[1:]
    if places[1:]:  # look at what the others were given, with the keys that they have
        outcome = faults(Path(where), places[0], json.loads(Path(name).read_text()), int(count))
        print(json.dumps({"acts": outcome.acts, "wrong": outcome.wrong}))
        sys.exit()
    print(json.dumps(compete(Path(where), places[0] if places else "", name, int(count))))
