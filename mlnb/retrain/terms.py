"""``[tool.mlnb.retrain.<model>]`` becomes the `Terms` on which a model is retrained.

::

    [tool.mlnb.retrain.delays]
    notebook = "delays.ipynb"             # whose %%deploy delays is shipped
    parameters = { until = "{date}" }     # the data that it is to learn from; {date}, {month}, {time}: of the beginning
    schedule = "0 3 * * MON"              # cron; or a list of such
    timezone = "Europe/Berlin"            # of the schedule; UTC where it is not said
    data = ["data/*.csv"]                 # retrain where one of these files is new, changed or gone
    on_alarm = true                       # or kinds of alarms: ["drift", "performance"]
    when = ["accuracy < 0.80"]            # realised performance of a window
    window = "week"
    min_rows = 100                        # labelled answers that a window must have
    budget = "4 per week"                 # retrainings that may begin in any such period
    cool_down = "12 hours"                # between two beginnings
    promote = "production"                # or "challenger": evaluate and stop there
    gates = ["better_than_champion auc"]  # beside those of the mark and of the alias
    code = "committed"                    # which notebook may run: "same", "committed" or "any"
    tries = 10                            # a retraining whose process died so often has failed
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from difflib import get_close_matches
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from mlnb.errors import MlnbError, SettingsError, UsageError
from mlnb.monitor.span import parse_span
from mlnb.registry.gates import Gate, parse_gate
from mlnb.registry.reference import check_name
from mlnb.retrain.schedule import Schedule, read_schedule

CHALLENGER = "challenger"
CODES = ("committed", "same", "any")
Plain = str | int | float | bool
_UNITS = {
    "second": timedelta(seconds=1),
    "minute": timedelta(minutes=1),
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(weeks=1),
    "month": timedelta(days=30),
}
_LENGTH = re.compile(r"(?:(\d+)\s*)?([a-z]+?)s?")
_BUDGET = re.compile(r"(\d+)\s*(?:per|/|in|a)\s*(.+)")
_STAMPS: Mapping[str, str] = {"{date}": "%Y-%m-%d", "{month}": "%Y-%m", "{time}": "%Y-%m-%dT%H:%M:%SZ"}


@dataclass(frozen=True, slots=True)
class Budget:
    """How many retrainings may begin in any span of a length."""

    runs: int
    period: timedelta

    def __str__(self) -> str:
        return f"{self.runs} in {spell(self.period)}"


@dataclass(frozen=True, slots=True)
class Terms:
    """When and how one model is retrained; the module says what each key means.

    Attributes
    ----------
    schedule : tuple of Schedule
        Empty for never by the clock.
    on_alarm : tuple of str
        Kinds of alarms; ``*`` for every kind, empty for none.
    budget : Budget or None
        None for as many as there are triggers.
    cool_down : datetime.timedelta
        Least time between two beginnings.
    champion : str
        The alias whose version is challenged.
    """

    model: str
    notebook: str
    parameters: Mapping[str, Plain] = field(default_factory=dict)
    schedule: tuple[Schedule, ...] = ()
    data: tuple[str, ...] = ()
    on_alarm: tuple[str, ...] = ()
    when: tuple[Gate, ...] = ()
    window: str = "week"
    min_rows: int = 100
    budget: Budget | None = None
    cool_down: timedelta = timedelta()
    champion: str = "production"
    promote: str = CHALLENGER
    gates: tuple[str, ...] = ()
    code: str = CODES[0]
    tries: int = 10

    def values(self, given: Mapping[str, Plain], at: datetime) -> dict[str, Plain]:
        """Return the parameters of a retraining that begins at a time (aware, UTC); what was given by hand wins."""
        return {name: _stamped(value, at) for name, value in {**self.parameters, **given}.items()}


def read_terms(table: Mapping[str, object]) -> dict[str, Terms]:
    """Return the terms of every model that ``[tool.mlnb.retrain]`` names.

    Raises
    ------
    SettingsError
        If a key is unknown, or its value cannot be read.
    """
    return {model: _terms(model, one) for model, one in table.items()}


def spell(length: timedelta) -> str:
    """Return a length of time in the largest unit that it is a whole number of.

    Examples
    --------
    >>> spell(timedelta(hours=36)), spell(timedelta(days=7))
    ('36 hours', '1 week')
    """
    for name in ("week", "day", "hour", "minute"):
        count, rest = divmod(length, _UNITS[name])
        if count and not rest:
            return f"{count} {name}{'s' * (count != 1)}"
    return f"{length.total_seconds():g} seconds"


def read_length(text: object) -> timedelta:
    """Return the length of time that a person wrote: ``week``, ``12 hours``, ``30 minutes``.

    Raises
    ------
    UsageError
        If it is none.

    Examples
    --------
    >>> read_length("12 hours") == read_length("720 minutes")
    True
    """
    match = _LENGTH.fullmatch(str(text).strip().lower())
    if match is None or match[2] not in _UNITS:
        raise UsageError(f"{text!r} is no length of time.", "Write a number and a unit: 12 hours, 1 week.")
    return int(match[1] or 1) * _UNITS[match[2]]


def _terms(model: str, table: object) -> Terms:
    place = f"[tool.mlnb.retrain.{model}]"
    if not isinstance(table, Mapping):
        raise SettingsError(f"{place} is not a table.", 'Write it with notebook = "...".', key=f"retrain.{model}")
    known = [one.name for one in fields(Terms) if one.name != "model"] + ["timezone"]
    chosen: dict[str, object] = {}
    for key, value in table.items():
        if key not in known:
            close = get_close_matches(key, known, n=1)
            hint = f"Did you mean {close[0]!r}?" if close else f"Known keys: {', '.join(known)}."
            raise SettingsError(f"{place} has an unknown key {key!r}.", hint, key=f"retrain.{model}.{key}")
        if key != "timezone":
            chosen[key] = _read(place, model, key, value, table)
    terms = Terms(model, **{"notebook": "", **chosen})  # type: ignore[arg-type]  # _read has checked each against its field
    try:
        check_name("model", model)
    except MlnbError as error:
        raise SettingsError(f"{place}: {error.problem}", error.remedy, key=f"retrain.{model}") from error
    if not terms.notebook:
        raise SettingsError(f"{place} names no notebook.", 'Write notebook = "NAME.ipynb".', key=f"retrain.{model}")
    if terms.promote not in (CHALLENGER, terms.champion):
        raise SettingsError(
            f"{place} promotes to {terms.promote!r}, but what is challenged is {terms.champion!r}.",
            f'Write promote = "{CHALLENGER}" or promote = "{terms.champion}".',
            key=f"retrain.{model}.promote",
        )
    return terms


def _read(place: str, model: str, key: str, value: object, table: Mapping[str, object]) -> object:
    try:
        if key == "schedule":
            zone = _zone(table.get("timezone", "UTC"))
            return tuple(read_schedule(text, zone) for text in _texts(value))
        return _READERS[key](value)
    except MlnbError as error:
        raise SettingsError(
            f"{place} {key} cannot be read: {error.problem}", error.remedy, key=f"retrain.{model}.{key}"
        ) from error


def _zone(name: object) -> ZoneInfo:
    try:
        return ZoneInfo(str(name))
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise UsageError(f"{name!r} is no time zone.", "Write it as Europe/Berlin or UTC.") from error


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise UsageError(f"{value!r} is no text.", "Put it in quotes.")
    return value


def _texts(value: object) -> tuple[str, ...]:
    values = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    return tuple(_text(one) for one in values)


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UsageError(f"{value!r} is no number of at least 1.", "Write a whole number.")
    return value


def _parameters(value: object) -> dict[str, Plain]:
    if not isinstance(value, Mapping) or not all(isinstance(one, str | int | float | bool) for one in value.values()):
        raise UsageError(f"{value!r} is no table of plain values.", 'Write { until = "{date}", trees = 100 }.')
    return dict(value)


def _kinds(value: object) -> tuple[str, ...]:
    if isinstance(value, bool):
        return ("*",) if value else ()
    return _texts(value)


def _gates(value: object) -> tuple[str, ...]:
    texts = _texts(value)
    for text in texts:
        parse_gate(text)
    return texts


def _window(value: object) -> str:
    parse_span(_text(value))
    return str(value)


def _budget(value: object) -> Budget:
    match = _BUDGET.fullmatch(_text(value).strip().lower())
    if match is None or int(match[1]) < 1:
        raise UsageError(f"{value!r} is no budget.", "Write it as: 4 per week.")
    return Budget(int(match[1]), read_length(match[2]))


def _alias(value: object) -> str:
    check_name("alias", _text(value))
    return str(value)


def _code(value: object) -> str:
    if value not in CODES:
        raise UsageError(f"{value!r} is none of {', '.join(CODES)}.", "Write one of them.")
    return str(value)


_READERS: Mapping[str, Callable[[object], object]] = {
    "notebook": _text,
    "parameters": _parameters,
    "data": _texts,
    "on_alarm": _kinds,
    "when": lambda value: tuple(parse_gate(text) for text in _texts(value)),
    "window": _window,
    "min_rows": _count,
    "budget": _budget,
    "cool_down": read_length,
    "champion": _alias,
    "promote": _alias,
    "gates": _gates,
    "code": _code,
    "tries": _count,
}


def _stamped(value: Plain, at: datetime) -> Plain:
    if isinstance(value, str):
        for word, form in _STAMPS.items():
            value = value.replace(word, at.strftime(form))
    return value
