"""Rows of the ledger become versions and promotions; references become rows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime

from sqlalchemy import Integer, String, bindparam, func, select
from sqlalchemy.engine import Connection, RowMapping

from mlnb.errors import CorruptError, RegistryError
from mlnb.registry.canonical import canonical, storable
from mlnb.registry.gates import Verdict
from mlnb.registry.lineage import Lineage
from mlnb.registry.reference import Reference, hint
from mlnb.registry.version import Draft, Promotion, Version
from mlnb.store.prepared import Prepared, Row
from mlnb.store.tables import ALIAS, MODEL, VERSION

_MODEL = bindparam("model", type_=String)
_LOCK = Prepared(select(MODEL.c.last_number).where(MODEL.c.name == _MODEL).with_for_update())
_OF_MODEL = select(VERSION).where(VERSION.c.model == _MODEL)
_BY_NUMBER = Prepared(_OF_MODEL.where(VERSION.c.number == bindparam("number", type_=Integer)))
_ALIASED = select(ALIAS.c.number).where(ALIAS.c.model == _MODEL, ALIAS.c.name == bindparam("alias", type_=String))
_BY_ALIAS = Prepared(_OF_MODEL.where(VERSION.c.number == _ALIASED.scalar_subquery()))
_BY_CONTENT = Prepared(_OF_MODEL.where(VERSION.c.content == bindparam("content", type_=String)))


def fields_of(draft: Draft) -> dict[str, object]:
    """Return the columns of ``version`` that the draft decides."""
    return {
        "model": draft.model,
        "content": draft.identity(),
        "created_by": storable(draft.by),
        "exporter": draft.exporter,
        "metrics": canonical({name: float(number) for name, number in draft.metrics.items()}),
        "lineage": canonical(draft.lineage.to_json()),
        "signature": canonical(draft.signature),
        "parity": canonical(draft.parity),
        "files": canonical(draft.files),
    }


def version_of(row: RowMapping | Mapping[str, object], tags: Mapping[str, str] | None = None) -> Version:
    """Return the version that a row of ``version`` holds, with its tags, by default none.

    Raises
    ------
    CorruptError
        If somebody altered the row so that it cannot be read.
    """
    with _readable(f"Version {row['model']}/{row['number']}", str(row["content"])):
        metrics = _mapping(row["metrics"])
        return Version(
            model=str(row["model"]),
            number=int(str(row["number"])),
            created_at=datetime.fromisoformat(str(row["created_at"])),
            created_by=str(row["created_by"]),
            content=str(row["content"]),
            exporter=str(row["exporter"]),
            files=files_of(row),
            metrics={name: float(str(number)) for name, number in metrics.items()},
            lineage=Lineage.from_json(_mapping(row["lineage"])),
            signature=_mapping(row["signature"]),
            parity=_mapping(row["parity"]),
            tags=tags or {},
            seal=str(row["seal"]),
            key=str(row["key"]),
        )


def files_of(row: RowMapping | Mapping[str, object]) -> dict[str, str]:
    """Return the digests of the files of a version's package, by name, from its row.

    Raises
    ------
    CorruptError
        If somebody altered the row so that they cannot be read.
    """
    with _readable(f"Version {row['model']}/{row['number']}", str(row["content"])):
        return {name: str(digest) for name, digest in _mapping(row["files"]).items()}


def promotion_of(row: RowMapping | Mapping[str, object], *, changed: bool = True) -> Promotion:
    """Return the promotion that a row of ``promotion`` holds.

    Raises
    ------
    CorruptError
        If somebody altered the row so that it cannot be read.
    """
    with _readable(f"Promotion {row['id']} of {row['model']}@{row['alias']}", ""):
        return Promotion(
            model=str(row["model"]),
            alias=str(row["alias"]),
            kind=str(row["kind"]),
            from_number=int(str(row["from_number"])),
            to_number=int(str(row["to_number"])),
            at=datetime.fromisoformat(str(row["at"])),
            by=str(row["by"]),
            reason=str(row["reason"]),
            verdicts=_verdicts(row["verdicts"]),
            forced=bool(row["forced"]),
            changed=changed,
        )


def counted(connection: Connection, model: str) -> int | None:
    """Hold the model's row until the transaction ends; return the number of its last version, None for no model."""
    number = _LOCK.value(connection, {"model": model})
    return None if number is None else int(number)


def lock_model(connection: Connection, model: str) -> None:
    """Let nobody else act on the model until the transaction ends; on SQLite nobody can as it is.

    Raises
    ------
    RegistryError
        If there is no such model.
    """
    if connection.dialect.name != "sqlite" and counted(connection, model) is None:
        check_known(connection, model)


def check_known(connection: Connection, model: str) -> None:
    """Refuse a model that nobody registered.

    Raises
    ------
    RegistryError
        With the name that was perhaps meant.
    """
    known = connection.scalars(select(MODEL.c.name)).all()
    if model not in known:
        raise RegistryError(f"There is no model {model!r}.", hint(model, known), model=model)


def version_with(connection: Connection, model: str, content: str) -> Row | None:
    """Return the row of the model's version that has that content."""
    return _BY_CONTENT.row(connection, {"model": model, "content": content})


def resolve(connection: Connection, reference: Reference) -> Row:
    """Return the row of the version that `reference` means.

    Raises
    ------
    RegistryError
        If there is no such model, version or alias.
    """
    values = {"model": reference.model, "number": reference.number, "alias": reference.alias}
    row = (_BY_ALIAS if reference.alias else _BY_NUMBER).row(connection, values)
    if row is not None:
        return row
    check_known(connection, reference.model)
    if reference.alias:
        aliases = connection.scalars(select(ALIAS.c.name).where(ALIAS.c.model == reference.model))
        remedy, problem = hint(reference.alias, aliases), f"{reference.model} has no alias {reference.alias!r}."
    else:
        last = connection.scalar(select(func.max(VERSION.c.number)).where(VERSION.c.model == reference.model))
        remedy, problem = f"The newest is {reference.model}/{last}.", f"There is no version {reference}."
    raise RegistryError(problem, remedy, model=reference.model, version=reference.number, alias=reference.alias)


@contextmanager
def _readable(what: str, digest: str) -> Iterator[None]:
    try:
        yield
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CorruptError(
            f"{what} cannot be read from the ledger: {error}.",
            "Run mlnb audit verify, and put a backup of the ledger in its place.",
            digest=digest,
        ) from error


def _mapping(text: object) -> dict[str, object]:
    return dict(json.loads(str(text)))


def _verdicts(text: object) -> tuple[Verdict, ...]:
    return tuple(Verdict.from_json(fields) for fields in json.loads(str(text)))
