"""One of several processes that register, promote and roll back at once.

Says "ready", waits for a line, works, prints what it was given as JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from mlnb.errors import RegistryError
from mlnb.registry.registry import Registry
from mlnb.registry.version import Draft
from mlnb.store.files import FileStore
from mlnb.store.ledger import Ledger


def compete(folder: Path, me: str, rounds: int) -> dict[str, list[int]]:
    store = FileStore(folder / "artifacts")
    mine, shared = [], []
    with Ledger(folder / "ledger.db") as ledger:
        registry = Registry(ledger, store)
        for number in range(rounds):
            own = {"model.onnx": store.put(f"{me} {number}".encode())[0]}
            common = {"model.onnx": store.put(f"everybody's {number}".encode())[0]}
            mine.append(registry.register(Draft("delays", me, "onnx", own)).number)
            shared.append(registry.register(Draft("shared", me, "onnx", common)).number)
            registry.promote(f"delays/{mine[-1]}", "production", by=me)
            if number % 3 == 2:
                try:
                    registry.rollback("delays", "production", by=me)
                except RegistryError:  # the others had rolled everything back already
                    continue
    return {"mine": mine, "shared": shared}


if __name__ == "__main__":
    print("ready", flush=True)
    sys.stdin.readline()
    print(json.dumps(compete(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))))
