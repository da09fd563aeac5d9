"""``[tool.mlnb]`` of pyproject.toml, then ``MLNB_*`` variables, become one frozen `Settings`.

``[tool.mlnb]`` holds plain keys, and the table of services; a variable is a key in capitals behind ``MLNB_``, and
wins.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path

from mlnb.errors import SettingsError


@dataclass(frozen=True, slots=True)
class Settings:
    """What a project may set.

    Attributes
    ----------
    executor : str
        Where stages run: an entry point of ``mlnb.executors``, or an address whose scheme is one.
    kernel : str
        How kernels are made: ``fork``, ``pool`` or ``spawn``.
    kernel_idle_s : int
        Seconds that the process which forks kernels outlives its last user.
    jobs : int
        Stages that may run at once; 0 for as many as there are cores.
    target : str
        Entry point of ``mlnb.targets`` that runs the services.
    host : str
        Address a local service listens on. Loopback unless somebody asks for more.
    port : int
        First port that a local service tries; 0 lets the system choose.
    stage_timeout_s : int
        Seconds after which one cell of a stage is stopped; 0 is never.
    parity_limit : float
        Largest accepted absolute difference between estimator and export.
    latency_requests : int
        Single-row requests behind the latency gates.
    load_rps : int
        Requests a second at which the latency is measured; 0 for half of what the service can answer, at most 500.
    environment : str
        ``locked``: a version's environment is an exact lock with digests, and its Bento is tried in an environment made
        from nothing else. ``installed``: what is installed here is pinned, no package index is asked, and the Bento is
        tried in mlnb's own environment.
    stale_warnings : str
        ``on``, or ``off``: whether a live kernel says in one line which stages a cell has made stale.
    shared_cache : str
        Address of a cache that several machines share, such as ``s3://bucket/prefix``; credentials never in it.
    secrets_folder : str
        Folder of files, each named as the secret that it holds; relative to the project.
    secrets_file : str
        A dotenv file of secrets, for its owner's eyes only (0600); relative to the project.
    service : Mapping
        The table ``[tool.mlnb.service]`` as it is; `mlnb.service.configuration` knows its keys.
    """

    executor: str = "local"
    kernel: str = "fork"
    kernel_idle_s: int = 0
    jobs: int = 0
    target: str = "local"
    host: str = "127.0.0.1"
    port: int = 0
    stage_timeout_s: int = 0
    parity_limit: float = 1e-4
    latency_requests: int = 200
    load_rps: int = 0
    environment: str = "locked"
    stale_warnings: str = "on"
    shared_cache: str = ""
    secrets_folder: str = "/run/secrets"
    secrets_file: str = ""
    service: Mapping[str, object] = field(default_factory=dict)


def read_settings(folder: Path, environ: Mapping[str, str]) -> Settings:
    """Return the settings that hold in `folder`.

    Raises
    ------
    SettingsError
        If a key is unknown or its value is not of the key's type.
    """
    known = {field.name: type(field.default) for field in fields(Settings) if field.name != "service"}
    table = _table(folder / "pyproject.toml")
    service = table.get("service", {})
    chosen: dict[str, str | int | float] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            continue
        if key not in known:
            close = get_close_matches(key, known, n=1)
            hint = f"Did you mean {close[0]!r}?" if close else f"Known keys: {', '.join(known)}."
            place = folder / "pyproject.toml"
            raise SettingsError(f"[tool.mlnb] in {place} has an unknown key {key!r}.", hint, key=key)
        chosen[key] = _typed(key, value, known[key])
    for key, kind in known.items():
        variable = f"MLNB_{key.upper()}"
        if variable in environ:
            chosen[key] = _typed(variable, environ[variable], kind)
    return Settings(service=service if isinstance(service, dict) else {}, **chosen)  # type: ignore[arg-type]  # _typed has checked each against its field


def _table(path: Path) -> Mapping[str, object]:
    if not path.is_file():
        return {}
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not valid TOML: {error}.", "Repair the file.", key="tool.mlnb") from error
    table = document.get("tool", {}).get("mlnb", {})
    if not isinstance(table, dict):
        raise SettingsError(f"[tool.mlnb] in {path} is not a table.", "Write it as a TOML table.", key="tool.mlnb")
    return table


def _typed(key: str, value: object, kind: type) -> str | int | float:
    accepted = (int, float) if kind is float else kind
    if isinstance(value, accepted) and not isinstance(value, bool):
        return kind(value)  # type: ignore[no-any-return]
    if isinstance(value, str):
        try:
            return kind(value)  # type: ignore[no-any-return]
        except ValueError:
            pass
    raise SettingsError(
        f"The setting {key} is {value!r}, which is not of type {kind.__name__}.",
        f"Give it a value of type {kind.__name__}.",
        key=key,
    )
