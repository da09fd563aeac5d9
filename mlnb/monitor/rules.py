"""``[tool.mlnb.monitor]`` becomes the `Rules` by which windows are judged.

::

    [tool.mlnb.monitor]
    span = "day"            # a window: hour, day, week, month or "500 rows"
    tolerance = 0.03        # of a column's distribution: the largest change of a watched share that does not matter
    rare = 0.01             # the same of missing values, categories never seen, and values out of range
    budget = 0.001          # false alarms a window, over all columns together
    calibrate = 0           # the first so many windows say how windows vary and are not judged: for a shuffled sample
    rules = ["psi > 0.2", "age.ks > 0.1"]  # plain thresholds, for those who must have them; they bound nothing

    [tool.mlnb.monitor.tolerances]
    age = 0.1               # of one column; "prediction" and "score" are the answers; 1 never alarms
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mlnb.errors import MonitorError, SettingsError, UsageError
from mlnb.monitor.dispersion import CHUNKS
from mlnb.monitor.span import parse_span
from mlnb.registry.gates import Gate, parse_gate
from mlnb.registry.reference import hint

TOLERANCE, RARE, BUDGET = 0.03, 0.01, 0.001
MEASURES = (
    "psi",
    "ks",
    "jensen_shannon",
    "hellinger",
    "total_variation",
    "wasserstein",
    "missing",
)
"""What a plain threshold may be set on; `mlnb.monitor.distance` says what each is, ``missing`` is a share."""

_NUMBERS = ("tolerance", "rare", "budget")
_KEYS = ("span", *_NUMBERS, "calibrate", "rules", "tolerances")


@dataclass(frozen=True, slots=True)
class Rules:
    """What counts as an alarm.

    Attributes
    ----------
    span : str
        A window.
    tolerance, rare : float
        Largest change of a share, 0 to 1, that is practically irrelevant: of the distribution, and of missing, unseen
        and out-of-range values.
    tolerances : mapping of str to float
        Of single columns, of their distribution.
    budget : float
        Accepted false alarms a window, over all columns.
    calibrate : int
        So many first windows are chunks of the reference, too, and are not judged; 0, or at least 20.
    thresholds : tuple of Gate
        Plain thresholds; a metric is one of `MEASURES`, or ``column.measure``.
    """

    span: str = "day"
    tolerance: float = TOLERANCE
    rare: float = RARE
    tolerances: Mapping[str, float] = field(default_factory=dict)
    budget: float = BUDGET
    calibrate: int = 0
    thresholds: tuple[Gate, ...] = ()

    def tolerance_of(self, name: str) -> float:
        """Return the tolerance of a column's distribution."""
        return self.tolerances.get(name, self.tolerance)


def read_rules(table: Mapping[str, object]) -> Rules:
    """Return the rules that ``[tool.mlnb.monitor]`` asks for.

    Raises
    ------
    SettingsError
        If a key is unknown or its value cannot be used.
    """
    for key in table:
        if key not in _KEYS:
            raise SettingsError(f"[tool.mlnb.monitor] has an unknown key {key!r}.", hint(key, _KEYS), key=key)
    span = table.get("span", "day")
    try:
        parse_span(str(span))
    except MonitorError as error:
        raise SettingsError(f"span in [tool.mlnb.monitor]: {error.problem}", error.remedy, key="span") from error
    tolerances = table.get("tolerances", {})
    if not isinstance(tolerances, Mapping):
        raise SettingsError(
            "tolerances in [tool.mlnb.monitor] is not a table.", "Write age = 0.1 below it.", key="tolerances"
        )
    calibrate = table.get("calibrate", 0)
    if type(calibrate) is not int or 0 < calibrate < CHUNKS or calibrate < 0:
        raise SettingsError(
            f"calibrate in [tool.mlnb.monitor] is {calibrate!r}, which is no number of windows.",
            f"Write 0, or {CHUNKS} or more: fewer say too little of how windows vary.",
            key="calibrate",
        )
    defaults = dict(zip(_NUMBERS, (TOLERANCE, RARE, BUDGET), strict=True))
    numbers = {key: _share(key, table.get(key, default)) for key, default in defaults.items()}
    return Rules(
        span=str(span),
        tolerances={str(name): _share(f"tolerances.{name}", value) for name, value in tolerances.items()},
        calibrate=calibrate,
        thresholds=_thresholds(table.get("rules", [])),
        **numbers,
    )


def measure_of(gate: Gate) -> tuple[str, str]:
    """Return which column a threshold is for, empty for every one, and which measure."""
    column, _, measure = gate.metric.rpartition(".")
    return column, measure


def _share(key: str, value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 1:
        return float(value)
    raise SettingsError(
        f"{key} in [tool.mlnb.monitor] is {value!r}, which is no share.", "Write a number above 0, up to 1.", key=key
    )


def _thresholds(texts: object) -> tuple[Gate, ...]:
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise SettingsError(
            "rules in [tool.mlnb.monitor] is not a list of texts.", 'Write rules = ["psi > 0.2"].', key="rules"
        )
    found = []
    for text in texts:
        try:
            gate = parse_gate(text)
        except UsageError as error:
            raise SettingsError(f"A rule in [tool.mlnb.monitor]: {error.problem}", error.remedy, key="rules") from error
        measure = measure_of(gate)[1]
        if measure not in MEASURES:
            remedy = hint(measure, MEASURES)
            raise SettingsError(f"The rule {text!r} is about {measure!r}, which is not measured.", remedy, key="rules")
        found.append(gate)
    return tuple(found)
