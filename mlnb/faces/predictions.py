"""The prediction log of a service becomes an answer: `services logs NAME --predictions` and `services roll`."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from time import time_ns
from typing import TYPE_CHECKING, TypeVar

import click
from click.shell_completion import CompletionItem

from mlnb.errors import UsageError
from mlnb.faces.complete import aliases
from mlnb.faces.spans import read_span_s
from mlnb.faces.verb import Asked

if TYPE_CHECKING:
    from mlnb.service.log_choice import Choice
    from mlnb.service.log_query import Condition
    from mlnb.service.log_record import Record

F = TypeVar("F", bound=Callable[..., object])
_ROLES = ("plain", "ab", "canary", "shadow", "all")
_STATUS = re.compile(r"(\d)xx|(\d{3})")
_SHOWN = 20
_FOLLOW_S = 0.5
_LOOK_BACK_NS = 10_000_000_000
_WIDTH = 60


@dataclass(frozen=True, slots=True)
class Wanted:
    """What of the prediction log was asked for on the command line, as it was typed."""

    predictions: bool = False
    id: str = ""
    request_id: str = ""
    since: str = ""
    until: str = ""
    version: str = ""
    alias: str = ""
    status: str = ""
    role: str = ""
    where: tuple[str, ...] = ()
    csv: Path | None = None
    parquet: Path | None = None

    @property
    def any(self) -> bool:
        """Whether the prediction log is meant."""
        return any(getattr(self, field.name) for field in fields(self))


def prediction_options(function: F) -> F:
    """Add the options of the prediction log to a command."""
    out = click.Path(path_type=Path, dir_okay=False)
    options = (
        click.option("--predictions", is_flag=True, help="The prediction log instead: newest rows, as a table."),
        click.option("--id", default="", metavar="ID", help="The prediction of that id."),
        click.option("--request-id", default="", metavar="ID", help="The rows of one request (X-Request-Id)."),
        click.option(
            "--since", default="", metavar="TIME", help="From then on: 2h, 7d, 2026-11-23, 2026-11-23T12:00Z."
        ),
        click.option("--until", default="", metavar="TIME", help="Before then."),
        click.option("--version", default="", metavar="N", shell_complete=_versions, help="Answered by that version."),
        click.option("--alias", default="", metavar="ALIAS", shell_complete=aliases, help="Asked of that alias."),
        click.option("--status", default="", metavar="STATUS", help="200, 422, 4xx, 5xx, or error."),
        click.option(
            "--role", default="", type=click.Choice(["", *_ROLES]), metavar="ROLE", help=f"Of {', '.join(_ROLES)}."
        ),
        click.option(
            "--where", multiple=True, metavar="COND", help="By content: 'age>=30', 'origin=JFK'; several: all."
        ),
        click.option("--csv", type=out, default=None, metavar="OUT", help="Write all of them to a CSV file."),
        click.option("--parquet", type=out, default=None, metavar="OUT", help="Write all of them to a Parquet file."),
    )
    for option in reversed(options):
        function = option(function)
    return function


def answer_predictions(asked: Asked, name: str, wanted: Wanted, count: int | None, *, follow: bool) -> int:
    """Print or write the rows of a service's prediction log that were asked for.

    Raises
    ------
    UsageError
        If an option cannot be understood, or goes not with another.
    """
    from mlnb.service.log_export import write_csv, write_parquet
    from mlnb.service.log_query import Condition, find, find_newest
    from mlnb.service.log_roll import roll_closed

    if (wanted.csv or wanted.parquet) and (follow or count is not None):
        raise UsageError("--csv and --parquet write all that is found; -f and -n are for the screen.", "Leave one out.")
    folder = _folder(asked, name)
    roll_closed(folder)
    choice = _choice(wanted, name, datetime.now(UTC))
    conditions = [Condition.parse(text) for text in wanted.where]
    if wanted.csv is not None or wanted.parquet is not None:
        written = 0
        if wanted.csv is not None:
            written = write_csv(find(folder, choice, conditions), wanted.csv)
        if wanted.parquet is not None:
            written = write_parquet(find(folder, choice, conditions), wanted.parquet)
        files = [str(one) for one in (wanted.csv, wanted.parquet) if one]
        told = {"name": name, "rows": written, "files": files}
        return asked.answer(told, lambda _: [f"{written:,} rows -> {', '.join(files)}"])
    shown = _SHOWN if count is None else count
    known = {one.id for one in find(folder, _lately(choice), conditions)} if follow else set()
    found = find_newest(folder, choice, conditions, shown) if shown else []
    if shown:
        _tell(asked, found)
    if follow:
        with suppress(KeyboardInterrupt, BrokenPipeError):
            _follow(asked, folder, choice, conditions, known | {one.id for one in found})
    return 0


def answer_rolled(asked: Asked, name: str, destination: str | None) -> int:
    """Move the rows of a service's prediction log into Parquet."""
    from mlnb.service.log_roll import roll

    folder = _folder(asked, name)
    rolled = roll(folder, destination=destination, at=time_ns())

    def lines(_: object) -> Iterator[str]:
        yield f"{rolled.predictions:,} predictions and {rolled.labels:,} labels in {rolled.segments} new segments"
        if rolled.expired:
            yield f"{rolled.expired} segments were too old and are removed"

    return asked.answer(rolled.to_json(), lines)


def _folder(asked: Asked, name: str) -> Path:
    folder = asked.project().state.predictions / name
    if not folder.is_dir():
        raise UsageError(f"There is no prediction log of {name!r}.", "See what runs: mlnb services list.")
    return folder


def _choice(wanted: Wanted, name: str, now: datetime) -> Choice:
    from mlnb.service.log_choice import EARLIEST, LATEST, Choice

    version = wanted.version.removeprefix(f"{name}/")
    if version and not version.isdigit():
        raise UsageError(f"{wanted.version!r} is no version.", f"Write its number: --version 3, or {name}/3.")
    role = "" if wanted.role in ("all", "plain") else wanted.role
    return Choice(
        since=_time(wanted.since, now) if wanted.since else EARLIEST,
        until=_time(wanted.until, now) if wanted.until else LATEST,
        version=int(version) if version else None,
        shadow=wanted.role in ("all", "shadow") or bool(wanted.id),
        role=role,
        alias=wanted.alias,
        request_id=wanted.request_id,
        id=wanted.id,
        statuses=_statuses(wanted.status),
        plain=wanted.role == "plain",
    )


def _time(text: str, now: datetime) -> int:
    from mlnb.service.log_choice import EARLIEST, LATEST
    from mlnb.service.log_record import nanoseconds

    ago_s = read_span_s(text)
    if ago_s is not None:
        return max(nanoseconds(now) - int(ago_s * 1e9), EARLIEST) if math.isfinite(ago_s) else EARLIEST
    try:
        at = datetime.fromisoformat(text)
        at = at if at.tzinfo else at.astimezone()
    except (ValueError, OverflowError) as error:
        raise UsageError(f"{text!r} is no time.", "Write 30min, 2h, 7d, 2026-11-23 or 2026-11-23T12:00Z.") from error
    return min(max(nanoseconds(at), EARLIEST), LATEST)


def _statuses(text: str) -> tuple[int, int]:
    if text in ("", "error"):
        return (400, 999) if text else (0, 999)
    found = _STATUS.fullmatch(text)
    if found is None:
        raise UsageError(f"{text!r} is no HTTP status.", "Write 200, 422, 4xx, 5xx or error.")
    if found[1]:
        return int(found[1]) * 100, int(found[1]) * 100 + 99
    return int(found[2]), int(found[2])


def _lately(choice: Choice) -> Choice:
    return replace(choice, after_id=f"{time_ns() - _LOOK_BACK_NS:016x}")


def _follow(asked: Asked, folder: Path, choice: Choice, conditions: Sequence[Condition], seen: Set[str]) -> None:
    """Tell each row that is logged from now on, until Ctrl-C; ids begin with the time at which they were made."""
    from mlnb.service.log_query import find

    while True:
        lately = _lately(choice)
        fresh = [one for one in find(folder, lately, conditions) if one.id not in seen]
        seen = {name for name in seen if name > lately.after_id} | {record.id for record in fresh}
        if fresh:
            _tell(asked, sorted(fresh, key=lambda record: record.id))
        time.sleep(_FOLLOW_S)


def _tell(asked: Asked, records: Sequence[Record]) -> None:
    if asked.as_json:
        for record in records:
            asked.tell(_plain(record), lambda _: ())
    else:
        asked.tell(records, _lines)


def _plain(record: Record) -> dict[str, object]:
    """Return a row with its times in ISO 8601 and its JSON decoded, as far as it is."""
    import msgspec

    from mlnb.service.log_record import moment

    told: dict[str, object] = record._asdict()
    for name in ("event_at", "logged_at"):
        told[name] = moment(getattr(record, name)).isoformat()
    for name in ("inputs", "prediction", "probabilities", "warnings"):
        text = getattr(record, name)
        with suppress(msgspec.DecodeError):  # the body of a refused request
            told[name] = None if text is None else msgspec.json.decode(text)
    return told


def _lines(records: Sequence[Record]) -> Iterator[str]:
    from mlnb.faces.tables import table
    from mlnb.service.log_record import moment

    if not records:
        yield "No such predictions."
        return
    rows = []
    for one in records:
        at = moment(one.event_at).strftime("%Y-%m-%d %H:%M:%S")
        asked = f"{one.alias} {one.role}".strip()
        told = one.prediction if one.error is None else one.error
        rows.append(
            (at, one.status, one.version, asked, f"{one.latency_ms:.1f}", _short(told), _short(one.inputs), one.id)
        )
    yield from table(("at (UTC)", "status", "version", "alias", "ms", "prediction", "inputs", "id"), rows)


def _short(text: str | None) -> str:
    line = " ".join((text or "").split())
    return line if len(line) <= _WIDTH else f"{line[: _WIDTH - 1]}…"


def _versions(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the versions of the service that has been typed before."""
    from mlnb.faces.complete import refs

    name = str(ctx.params.get("name") or "")
    found = [item.value for item in refs(ctx, _param, f"{name}/")]
    numbers = [value.removeprefix(f"{name}/") for value in found]
    return [CompletionItem(number) for number in numbers if number.isdigit() and number.startswith(incomplete)]
