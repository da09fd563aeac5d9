"""``[tool.mlnb]`` of pyproject.toml, then ``MLNB_*`` variables, become one frozen `Settings`.

``[tool.mlnb]`` holds plain keys, and the table of services; a variable is a key in capitals behind ``MLNB_``, and
wins.
"""

from __future__ import annotations

import re
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
    ledger : str
        Address of the ledger where it is not ``.mlnb/ledger.db``: ``postgresql://host/team``. A password has no place
        in pyproject.toml: ``PGPASSWORD``, ``~/.pgpass``, or the whole address in ``MLNB_LEDGER``.
    artifacts : str
        Address where the packages of versions lie for everybody, such as ``s3://bucket/models``; what this machine has
        of them is below ``.mlnb`` as ever. Credentials never in it.
    encryption_key : str
        A file outside the project, or the name of a secret, that holds the keys under which registered packages and
        backups are encrypted; see `mlnb.store.vault`.
    mlflow : str
        Address of the MLflow server that versions are mirrored to; credentials never in it (`mlnb.platforms`).
    notify_url : str
        Web address that each move of an alias is posted to (`mlnb.notify.webhook`). It may hold a token: best put into
        the variable ``MLNB_NOTIFY_URL``.
    secrets_folder : str
        Folder of files, each named as the secret that it holds; relative to the project.
    secrets_file : str
        A dotenv file of secrets, for its owner's eyes only (0600); relative to the project.
    service : Mapping
        The table ``[tool.mlnb.service]`` as it is; `mlnb.service.configuration` knows its keys.
    gates : Mapping
        The table ``[tool.mlnb.gates]`` as it is: gates by alias; `mlnb.judging` reads it.
    policy : Mapping
        The table ``[tool.mlnb.policy]`` as it is; `mlnb.registry.policy` knows its keys.
    monitor : Mapping
        The table ``[tool.mlnb.monitor]`` as it is; `mlnb.monitor.rules` knows its keys.
    retrain : Mapping
        The table ``[tool.mlnb.retrain]`` as it is: a table for each model; `mlnb.retrain.terms` knows their keys.
    notify : Mapping
        The table ``[tool.mlnb.notify]`` as it is: a table for each channel; `mlnb.notify.channel` knows their keys.
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
    ledger: str = ""
    artifacts: str = ""
    encryption_key: str = ""
    mlflow: str = ""
    notify_url: str = ""
    secrets_folder: str = "/run/secrets"
    secrets_file: str = ""
    service: Mapping[str, object] = field(default_factory=dict)
    gates: Mapping[str, object] = field(default_factory=dict)
    policy: Mapping[str, object] = field(default_factory=dict)
    monitor: Mapping[str, object] = field(default_factory=dict)
    retrain: Mapping[str, object] = field(default_factory=dict)
    notify: Mapping[str, object] = field(default_factory=dict)


_PASSWORD = re.compile(r"://[^/@]*:[^/@]+@|[?&]password=", re.IGNORECASE)
TABLES = ("service", "gates", "policy", "monitor", "retrain", "notify")
"""The settings that are tables."""


def read_settings(folder: Path, environ: Mapping[str, str]) -> Settings:
    """Return the settings that hold in `folder`.

    Raises
    ------
    SettingsError
        If a key is unknown or its value is not of the key's type.
    """
    known = {field.name: type(field.default) for field in fields(Settings) if field.name not in TABLES}
    table = _table(folder / "pyproject.toml")
    tables = {key: table[key] for key in TABLES if isinstance(table.get(key), dict)}
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
    if _PASSWORD.search(str(chosen.get("mlflow", ""))):
        raise SettingsError(
            f"The address of the MLflow server in {folder / 'pyproject.toml'} holds a password.",
            "Take it out: MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN.",
            key="mlflow",
        )
    if _PASSWORD.search(str(chosen.get("ledger", ""))):
        raise SettingsError(
            f"The address of the ledger in {folder / 'pyproject.toml'} holds a password.",
            "Take it out: PGPASSWORD, ~/.pgpass, or the whole address in MLNB_LEDGER.",
            key="ledger",
        )
    for key, kind in known.items():
        variable = f"MLNB_{key.upper()}"
        if variable in environ:
            chosen[key] = _typed(variable, environ[variable], kind)
    return Settings(**tables, **chosen)  # type: ignore[arg-type]  # _typed has checked each against its field


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
