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
FORMAT = 2  # 1 had no "source"
NAMES_OF_FILES = ("tls_cert", "tls_key", "tls_client_ca", "tokens_file")
"""Keys whose values are paths, from the project's folder."""
_LONGEST_S = 2_000_000.0  # 23 days; gRPC counts milliseconds in 31 bits
_MOST = float(2**31 - 1)
_RANGES = {  # of numbers; where one is not here, from 0 to _MOST, or to _LONGEST_S if it is of seconds
    "max_rows": (1.0, _MOST),
    "max_body_bytes": (1.0, _MOST),
    "body_s": (0.01, _LONGEST_S),
    "answer_s": (0.01, _LONGEST_S),
    "wait_s": (0.001, _LONGEST_S),
    "max_connections": (1.0, _MOST),
    "max_header_bytes": (256.0, _MOST),
    "header_s": (0.01, _LONGEST_S),
    "send_s": (0.01, _LONGEST_S),
    "workers": (0.0, 512.0),  # half of the places in the table of connections: a restart has two of each
    "log_sample": (0.0, 1.0),
    "log_keep_days": (0.0, 36_500.0),
    "log_window_ms": (0.0, 60_000.0),
    "grpc_port": (0.0, 65_535.0),
    "grpc_age_s": (0.0, 3600.0),
}
_PUBLIC = ("metrics", "docs")
_WORDS = {"log": ("durable", "strict", "fast", "off"), "log_failure": ("stop", "serve"), "log_format": ("text", "json")}


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
    batching : bool
        Whether requests that come together are scored together; see `mlnb.service.batching`.
    workers : int
        Processes that answer; 0 for one on each core.
    drain_s : float
        Seconds that running requests have to end when a worker is to end.
    log_format : {"text", "json"}
        How the lines of ``service.log`` are written.
    access_log : bool
        Whether each answered request gets a line there.
    log : {"durable", "strict", "fast", "off"}
        How safe a prediction is in the log before it is answered: from the death of any process; from power loss too;
        not at all for `log_window_ms`; there is no log. See `mlnb.service.log`.
    log_window_ms : int
        Of a fast log: milliseconds from an answer until its commit begins.
    log_failure : {"stop", "serve"}
        What happens where the log cannot be written: nothing is answered (503), or answers go on and are not logged.
    log_sample : float
        Share of the answered rows whose inputs are logged, by their id; all else of a row always is.
    log_redact, log_redact_key : str
        Columns, with commas between them, whose values are never logged; with a key a keyed digest stands for them.
    log_keep_days : float
        Rows that were logged earlier are removed, segments once all their rows were; 0 keeps all.
    log_segments : str
        Address of a folder elsewhere to which closed rows are moved as Parquet (``s3://bucket/predictions``); "" keeps
        them beside the log.
    queue : int
        Requests that may wait or be answered at once in a worker; more are refused with 503. 0 finds as many as are
        answered within `wait_s`.
    wait_s : float
        Seconds that a request may wait for its turn, where `queue` is 0.
    max_connections : int
        Connections that a worker keeps open.
    max_header_bytes : int
        Size of a request's head.
    header_s, send_s, idle_s : float, float, int
        Seconds until a head must have arrived, until an answer must have been taken, and that a connection may stay
        open between two requests.
    tokens_file : str
        Where the callers' tokens are; "" for ``tokens.json`` in the service's folder. One that is named must be there.
    public : str
        What needs no token where there are tokens, besides health: ``metrics``, ``docs``, or both with a space between.
    open : bool
        Whether a local service without tokens may listen beyond loopback.
    grpc_port : int
        Port at which the Open Inference Protocol is answered over gRPC as well; 0 for none. It needs ``mlnb[grpc]``.
    grpc_age_s : float
        Seconds after which a connection of gRPC is told to come anew, so that callers spread over the workers, and a
        worker that is replaced loses no call; 0 for never.
    tls_cert, tls_key, tls_client_ca : str
        PEM files: the certificate with its chain, its key, and the authorities of the certificates that callers must
        show; "" for none.
    """

    max_rows: int = 10_000
    max_body_bytes: int = 32 * 1024 * 1024
    body_s: float = 30.0
    answer_s: float = 60.0
    explain_evaluations: int = 0
    batching: bool = True
    workers: int = 1
    drain_s: float = 10.0
    log_format: str = "text"
    access_log: bool = False
    log: str = "durable"
    log_window_ms: int = 200
    log_failure: str = "stop"
    log_sample: float = 1.0
    log_redact: str = ""
    log_redact_key: str = ""
    log_keep_days: float = 0.0
    log_segments: str = ""
    queue: int = 0
    wait_s: float = 0.1
    max_connections: int = 4096
    max_header_bytes: int = 32 * 1024
    header_s: float = 10.0
    send_s: float = 60.0
    idle_s: int = 75
    tokens_file: str = ""
    public: str = ""
    open: bool = False
    grpc_port: int = 0
    grpc_age_s: float = 15.0
    tls_cert: str = ""
    tls_key: str = ""
    tls_client_ca: str = ""


def configure(table: Mapping[str, object], environ: Mapping[str, str]) -> Configuration:
    """Return the configuration that a table and the environment describe.

    Raises
    ------
    SettingsError
        If a key is unknown, or its value is not of the key's type or range.
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
    for key, words in _WORDS.items():
        if chosen.get(key, words[0]) not in words:
            raise SettingsError(
                f"The service's setting {key} is {chosen[key]!r}.", f"It is one of {', '.join(words)}.", key=key
            )
    if not set(str(chosen.get("public", "")).split()) <= set(_PUBLIC):
        raise SettingsError(
            f"The service's setting public is {chosen['public']!r}.",
            f"It is one of {', '.join(_PUBLIC)}, or both with a space between.",
            key="public",
        )
    for key, value in chosen.items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            lowest, highest = _RANGES.get(key, (0.0, _LONGEST_S if key.endswith("_s") else _MOST))
            if not lowest <= value <= highest:  # NaN is in no range
                raise SettingsError(
                    f"The service's setting {key} is {value!r}.", f"It is from {lowest:g} to {highest:g}.", key=key
                )
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
            if document["format"] not in range(1, FORMAT + 1) or not isinstance(table, dict):
                raise ValueError(f"format {document['format']}")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SettingsError(
                f"{state / FILE} cannot be read: {error!r}.",
                "Start the service again: mlnb services start NAME.",
                key=FILE,
            ) from error
    return configure(table, environ)


def read_source(state: Path | None) -> str:
    """Return the folder of the code that ``service.json`` names; "" where it names none.

    Raises
    ------
    SettingsError
        If the folder is not there.
    """
    if state is None or not (state / FILE).is_file():
        return ""
    source = str(json.loads((state / FILE).read_bytes()).get("source", ""))
    if source and not (Path(source) / "aliases.json").is_file():
        raise SettingsError(f"{source} holds no service.", "Deploy the model again: mlnb deploy NOTEBOOK.", key=FILE)
    return source


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
        except (ValueError, OverflowError) as error:  # NaN and infinity are no int
            raise fault from error
        if isinstance(value, str) or number == value:
            return number  # type: ignore[no-any-return]
    raise fault
