"""Words such as ``auc >= 0.8 tag:owner=ada data:flights.csv`` become the versions of which all of them are true.

``METRIC OP NUMBER``   a number that the version's run has measured, as in a gate, by any of its names
``tag:NAME[=VALUE]``   a tag that a person wrote
``data:PATTERN``       a file or address that its stages have read, by name (``*`` stands for anything) or by digest
``param:NAME[=VALUE]`` a parameter of its run
``model:``, ``alias:``, ``by:``, ``exporter:``, ``notebook:``, ``commit:``, ``run:``  (beginnings for the last two)
``since:DAY``, ``until:DAY``  when it was registered, the days included

A word without a colon is looked for in the model's name, the tags, the notebook and the data. What a database can
sort out it does; metrics, data and parameters are read from what remains.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from typing import TypeAlias

from sqlalchemy import ColumnElement, and_, exists, select, tuple_
from sqlalchemy.engine import Connection, RowMapping

from mlnb.errors import UsageError
from mlnb.model.metric_names import candidates
from mlnb.registry.canonical import time_text
from mlnb.registry.gates import OPERATORS, Gate, parse_gate
from mlnb.registry.reference import hint
from mlnb.registry.remarks import Key, key_of, tags_of
from mlnb.registry.rows import version_of
from mlnb.registry.tenure import read_span
from mlnb.registry.version import Version
from mlnb.store.tables import ALIAS, TAG, VERSION

_AT_ONCE = 500
_SIGN = re.compile(r"[<>=!≥≤≠]")
_PARTED = re.compile(r"\0*([<>=!≥≤≠]{1,2})\0+|\0+([<>=!≥≤≠]{1,2})\0*")
_TERM = re.compile(r"([a-z]+):(.*)", re.DOTALL)
KINDS = ("tag", "data", "param", "model", "alias", "by", "exporter", "notebook", "commit", "run", "since", "until")
_Test: TypeAlias = "Callable[[Term, RowMapping, Mapping[str, object], Mapping[str, str]], bool]"
_ASKED_OF_ROWS = ("data", "param", "notebook", "commit", "run")


@dataclass(frozen=True, slots=True)
class Term:
    """One condition: its kind, one of `KINDS` or ``word``, and what stands behind the colon."""

    kind: str
    text: str

    @property
    def pair(self) -> tuple[str, str | None]:
        """Name and value of ``NAME=VALUE``; None for a name alone."""
        name, sign, value = self.text.partition("=")
        return name, value if sign else None


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for: all of these must be true of a version."""

    gates: tuple[Gate, ...] = ()
    terms: tuple[Term, ...] = ()


def parse_query(words: Sequence[str], now: datetime) -> Query:
    """Read what a person looks for; a condition on a metric may stand in one word or in three.

    Raises
    ------
    UsageError
        If a word has an unknown kind, or a condition is not one.

    Examples
    --------
    >>> from datetime import UTC
    >>> found = parse_query(["auc", ">=", "0.8", "tag:owner=ada"], datetime(2026, 3, 3, tzinfo=UTC))
    >>> str(found.gates[0]), found.terms[0].pair
    ('auc >= 0.8', ('owner', 'ada'))
    """
    gates: list[Gate] = []
    terms: list[Term] = []
    for word in _joined(words):
        match = _TERM.fullmatch(word)
        if match and not (_SIGN.search(match[1])) and (match[1] in KINDS or not _SIGN.search(word)):
            terms.append(_term(match[1], match[2], now))
        elif _SIGN.search(word):
            gates.append(parse_gate(word))
        elif word.strip():
            terms.append(Term("word", word))
    return Query(tuple(gates), tuple(terms))


def search(connection: Connection, query: Query) -> tuple[Version, ...]:
    """Return the versions of which the query is true, by model and number."""
    conditions = [one for one in map(_in_database, query.terms) if one is not None]
    columns = [VERSION.c.model, VERSION.c.number, VERSION.c.metrics]
    asked = [term for term in query.terms if term.kind in _ASKED_OF_ROWS or term.kind == "word"]
    if asked:
        columns.append(VERSION.c.lineage)
    tags = tags_of(connection) if any(term.kind == "word" for term in asked) else {}
    rows = connection.execute(select(*columns).where(*conditions)).mappings()
    keys = [key_of(row) for row in rows if _fits(row, tags.get(key_of(row), {}), query.gates, asked)]
    found = [
        version for begin in range(0, len(keys), _AT_ONCE) for version in _whole(connection, keys[begin:][:_AT_ONCE])
    ]
    return tuple(sorted(found, key=lambda version: (version.model, version.number)))


def _whole(connection: Connection, keys: Sequence[Key]) -> Iterator[Version]:
    """Yield the versions of some keys with their tags."""
    wanted = select(VERSION).where(tuple_(VERSION.c.model, VERSION.c.number).in_(keys))
    chosen = select(TAG).where(tuple_(TAG.c.model, TAG.c.number).in_(keys)).order_by(TAG.c.name)
    tags: dict[Key, dict[str, str]] = {}
    for row in connection.execute(chosen).mappings():
        tags.setdefault(key_of(row), {})[row["name"]] = row["value"]
    for row in connection.execute(wanted).mappings():
        yield version_of(row, tags.get(key_of(row), {}))


def ranked(versions: Iterable[Version], metric: str, sign: int) -> tuple[Version, ...]:
    """Return versions by a metric, the best first, those without it last.

    Parameters
    ----------
    sign : int
        1 where more is better, -1 where less is.
    """

    def order(version: Version) -> float:
        value = measured(version.metrics, metric)
        return math.inf if math.isnan(value) else -sign * value

    return tuple(sorted(versions, key=order))


def measured(metrics: Mapping[str, float], name: str) -> float:
    """Return a number by any of its names; NaN where nothing measured it."""
    known = next((one for one in candidates(name) if one in metrics), None)
    if known is None:
        known = next((one for one in metrics if name in candidates(one)), None)
    return math.nan if known is None else metrics[known]


def _joined(words: Sequence[str]) -> list[str]:
    """Join what the shell has parted: ``auc``, ``>=``, ``0.8``."""
    text = "\0".join(word.strip() for word in words)
    return [word for word in _PARTED.sub(r"\1\2", text).split("\0") if word]


def _term(kind: str, text: str, now: datetime) -> Term:
    if kind not in KINDS:
        raise UsageError(f"Versions cannot be looked for by {kind!r}.", hint(kind, KINDS))
    if not text.strip():
        raise UsageError(f"{kind}: says nothing to look for.", f"Write {kind}:SOMETHING.")
    if kind in ("since", "until"):
        span = read_span(text, now)
        return Term(kind, time_text(span.begin if kind == "since" else span.end))
    return Term(kind, text)


def _in_database(term: Term) -> ColumnElement[bool] | None:
    """Return the condition of a term that the database can tell by itself; None for the others."""
    match term.kind:
        case "model" | "by" | "exporter":
            column = {"model": VERSION.c.model, "by": VERSION.c.created_by, "exporter": VERSION.c.exporter}[term.kind]
            return column == term.text
        case "since":
            return VERSION.c.created_at >= term.text
        case "until":
            return VERSION.c.created_at < term.text
        case "alias":
            mine = and_(ALIAS.c.model == VERSION.c.model, ALIAS.c.number == VERSION.c.number)
            return exists().where(mine, ALIAS.c.name == term.text)
        case "tag":
            name, value = term.pair
            mine = and_(TAG.c.model == VERSION.c.model, TAG.c.number == VERSION.c.number, TAG.c.name == name)
            return exists().where(mine) if value is None else exists().where(mine, TAG.c.value == value)
    return None


def _fits(row: RowMapping, tags: Mapping[str, str], gates: Iterable[Gate], asked: Sequence[Term]) -> bool:
    if gates:
        metrics = {str(name): float(str(value)) for name, value in json.loads(row["metrics"]).items()}
        if not all(OPERATORS[gate.operator](measured(metrics, gate.metric), gate.limit) for gate in gates):
            return False
    lineage: Mapping[str, object] = json.loads(row["lineage"]) if asked else {}
    return all(_TESTS.get(term.kind, _by_word)(term, row, lineage, tags) for term in asked)


def _by_data(term: Term, _row: RowMapping, lineage: Mapping[str, object], _tags: Mapping[str, str]) -> bool:
    return any(_like(path, term.text) or _begins(digest, term.text) for path, digest in _data(lineage))


def _by_parameter(term: Term, _row: RowMapping, lineage: Mapping[str, object], _tags: Mapping[str, str]) -> bool:
    given = lineage.get("parameters")
    name, value = term.pair
    if not isinstance(given, dict) or name not in given:
        return False
    found = given[name]
    return value is None or value in (found if isinstance(found, str) else json.dumps(found), str(found))


def _by_field(term: Term, _row: RowMapping, lineage: Mapping[str, object], _tags: Mapping[str, str]) -> bool:
    if term.kind == "notebook":
        return _like(str(lineage.get("notebook", "")), term.text)
    name = "git_commit" if term.kind == "commit" else "run"
    return _begins(str(lineage.get(name, "")), term.text)


def _by_word(term: Term, row: RowMapping, lineage: Mapping[str, object], tags: Mapping[str, str]) -> bool:
    texts = [str(row["model"]), str(lineage.get("notebook", "")), *(path for path, _ in _data(lineage))]
    texts += [*tags, *tags.values()]
    return any(term.text.casefold() in text.casefold() for text in texts)


_TESTS: Mapping[str, _Test] = {
    "data": _by_data,
    "param": _by_parameter,
    "notebook": _by_field,
    "commit": _by_field,
    "run": _by_field,
}


def _data(lineage: Mapping[str, object]) -> list[tuple[str, str]]:
    found = lineage.get("data")
    return [(str(path), str(digest)) for path, digest in found] if isinstance(found, list) else []


def _like(path: str, pattern: str) -> bool:
    """Say whether a path is the pattern's: wholly, by its last part, or by a star in it."""
    return any(fnmatchcase(text, pattern) for text in (path, path.rpartition("/")[2]))


def _begins(digest: str, text: str) -> bool:
    return len(text) >= 4 and (digest.startswith(text) or digest.partition(":")[2].startswith(text))
