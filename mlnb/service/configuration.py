"""``[tool.mlnb.service]``, ``service.json`` and ``MLNB_*`` variables become one frozen `Configuration` of a service.

The local target checks the table and writes it as ``service.json`` beside ``aliases.json``. The process reads that, and
the variables, which are named as the key in capitals behind ``MLNB_`` and win; they are all that an image has.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path

from mlnb.errors import SettingsError

FILE = "service.json"
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Configuration:
    """What may be set of a service.

    Attributes
    ----------
    max_rows : int
        Rows of a predict request, labels of a labels request.
    max_body_bytes : int
        Size of a body.
    body_s : float
        Seconds until the whole body must have arrived.
    answer_s : float
        Seconds until a request that runs in a thread must be answered.
    explain_evaluations : int
        Rows that a model may be asked about to explain one request; 0 where the service does not explain.
    """

    max_rows: int = 10_000
    max_body_bytes: int = 32 * 1024 * 1024
    body_s: float = 30.0
    answer_s: float = 60.0
    explain_evaluations: int = 0


def configure(table: Mapping[str, object], environ: Mapping[str, str]) -> Configuration:
    """Return the configuration that a table and the environment describe.

    Raises
    ------
    SettingsError
        If a key is unknown or its value is not of the key's type.
    """
    known = {field.name: type(field.default) for field in fields(Configuration)}
    chosen: dict[str, str | int | float | bool] = {}
    for key, value in table.items():
        if key not in known:
            close = get_close_matches(key, known, n=1)
            hint = f"Did you mean {close[0]!r}?" if close else f"Known keys: {', '.join(known)}."
            raise SettingsError(f"[tool.mlnb.service] has an unknown key {key!r}.", hint, key=key)
        chosen[key] = _typed(key, value, known[key])
    for key, kind in known.items():
        variable = f"MLNB_{key.upper()}"
        if variable in environ:
            chosen[key] = _typed(variable, environ[variable], kind)
    return Configuration(**chosen)  # type: ignore[arg-type]  # _typed has checked each against its field


def read_configuration(state: Path | None, environ: Mapping[str, str]) -> Configuration:
    """Return the configuration of the service whose folder is `state`, as it is now.

    Raises
    ------
    SettingsError
        If ``service.json`` cannot be read, or as `configure` says.
    """
    table: Mapping[str, object] = {}
    if state is not None and (state / FILE).is_file():
        try:
            document = json.loads((state / FILE).read_bytes())
            table = document["settings"]
            if document["format"] != FORMAT or not isinstance(table, dict):
                raise ValueError(f"format {document['format']}")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SettingsError(
                f"{state / FILE} cannot be read: {error!r}.",
                "Start the service again: mlnb services start NAME.",
                key=FILE,
            ) from error
    return configure(table, environ)


def _typed(key: str, value: object, kind: type) -> str | int | float | bool:
    fault = SettingsError(
        f"The service's setting {key} is {value!r}, which is not of type {kind.__name__}.",
        f"Give it a value of type {kind.__name__}.",
        key=key,
    )
    if kind is bool:
        found = {"true": True, "1": True, "false": False, "0": False}.get(str(value).lower())
        if found is None:
            raise fault
        return found
    if isinstance(value, str) or (isinstance(value, int | float) and not isinstance(value, bool)):
        try:
            number = kind(value)
        except ValueError as error:
            raise fault from error
        if isinstance(value, str) or number == value:
            return number  # type: ignore[no-any-return]
    raise fault
