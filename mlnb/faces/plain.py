"""Any value of ours becomes plain JSON values: what ``--json`` prints, for every verb.

A type that has `to_json` decides for itself; any other dataclass becomes an object of its fields. A version also says
its `ref`, because nobody should have to glue ``delays`` and ``7`` together.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import PurePath

from mlnb.errors import MlnbError


def plain(value: object) -> object:
    """Return `value` in the types that JSON knows.

    Infinite and undefined numbers become None (JSON has no word for them), times become ISO-8601 in UTC, sets are
    sorted.
    """
    if value is None or isinstance(value, bool | int | str):
        return value.value if isinstance(value, Enum) else value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Set):
        return sorted((plain(item) for item in value), key=str)
    if isinstance(value, Sequence):
        return [plain(item) for item in value]
    return _object(value)


def json_text(value: object) -> str:
    """Return `value` as indented JSON."""
    return json.dumps(plain(value), indent=2, ensure_ascii=False)


def fault(error: MlnbError) -> dict[str, object]:
    """Return what an error says about itself: problem, remedy, type, and its own attributes."""
    own = {key: plain(item) for key, item in vars(error).items() if not key.startswith("_")}
    return {"problem": error.problem, "remedy": error.remedy, "type": type(error).__name__} | own


def _object(value: object) -> object:
    to_json = getattr(value, "to_json", None)
    if callable(to_json):
        facts = plain(to_json())
    elif is_dataclass(value):
        facts = {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    elif callable(item := getattr(value, "item", None)):
        return plain(item())
    else:
        return str(value)
    ref = getattr(value, "ref", None)
    if isinstance(facts, dict) and isinstance(ref, str):
        return {"ref": ref} | facts
    return facts
