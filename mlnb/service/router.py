"""``aliases.json`` and version folders become one immutable `Routing`, swapped in one assignment.

The folder that is followed holds ``versions/<number>/``, each a model package, and ``aliases.json``, format 2::

    {"format": 2, "model": "delays", "revision": 3, "aliases": {"production": 7}, "code": ["sha256:..."],
     "warm": [6, 5], "traffic": {"production": {"id": "9f3c...", "slots": [[0.9, 7], [1.0, 8]], ...}}}

``code`` are the digests of the pickles, skops files and hooks whose signatures were checked by who wrote the file; no
other may be loaded. ``warm`` are versions that were live a moment ago: they stay loaded, so that going back to one is
an assignment. ``traffic`` (see `mlnb.service.traffic`) spreads an alias over several versions. Format 1 has no
``traffic``; it is still written where there is none, so that a service of before goes on following.

A new routing is loaded off the event loop while the old one answers; one that cannot be loaded leaves the old one in
place and is told by ``/readyz``.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from mlnb.errors import NewerFormatError, RequestError, ServiceError
from mlnb.model.scorer import Scorer, file_digest, load_scorer
from mlnb.service.traffic import EVENTS, Traffic, traffic_from_json
from mlnb.service.unusual import Usual, usual_of

FORMAT = 2
DEFAULT_ALIAS = "production"
_POLL_S = 0.02
_LOGGER = logging.getLogger("mlnb.service")


@dataclass(frozen=True, slots=True)
class LoadedVersion:
    """One version, ready to answer.

    Attributes
    ----------
    number : int
        Its number.
    ref : str
        How it is written: ``delays/7``.
    digest : str
        Digest of its ``package.json``.
    scorer : Scorer
        Rows to scores, the service's hooks included.
    package : Path
        The folder that it was loaded from.
    usual : Usual or None
        What it has seen, so that a row unlike it is warned of.
    """

    number: int
    ref: str
    digest: str
    scorer: Scorer
    package: Path = Path()
    usual: Usual | None = None


@dataclass(frozen=True, slots=True)
class Spread:
    """The traffic of one alias, with the versions that it needs.

    Attributes
    ----------
    traffic : Traffic
        How requests are spread.
    base : int
        The alias' own version.
    routings : Mapping of int to Routing
        By version number: the routing in which that version stands behind the alias, without traffic.
    shadows : tuple of (LoadedVersion, float)
        Who gets a copy of which share of the requests.
    """

    traffic: Traffic
    base: int
    routings: Mapping[int, Routing]
    shadows: tuple[tuple[LoadedVersion, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Routing:
    """Which version stands behind each alias; never changed, only replaced.

    Attributes
    ----------
    model : str
        Name of the model.
    revision : int
        Raised with every placement of ``aliases.json``.
    aliases : Mapping of str to LoadedVersion
        What ``/aliases/<alias>/predict`` answers with.
    default : str
        Alias behind ``/predict``: ``production``, else the one with the highest version; "" where there is none.
    traffic : Mapping of str to Spread
        By alias: how its requests are spread over several versions; empty where none is.
    loaded : Mapping of int to LoadedVersion
        All versions in memory, by number.
    warm : tuple of int
        Those that are to stay in memory although nothing asks for them.
    """

    model: str
    revision: int
    aliases: Mapping[str, LoadedVersion]
    default: str
    traffic: Mapping[str, Spread] = field(default_factory=dict)
    loaded: Mapping[int, LoadedVersion] = field(default_factory=dict)
    warm: tuple[int, ...] = ()

    @property
    def outputs(self) -> frozenset[tuple[str, ...]]:
        """The names of the values of an answer, of each live version that answers with several."""
        live = (one.scorer.signature for one in self.aliases.values())
        return frozenset(tuple(output.name for output in one.outputs) for one in live if one.outputs)

    def version_of(self, alias: str) -> tuple[str, LoadedVersion]:
        """Return the alias that answers, and its version; "" asks for the default.

        Raises
        ------
        RequestError
            404 for an alias that does not exist, 503 where nothing is live.
        """
        chosen = alias or self.default
        version = self.aliases.get(chosen)
        if version is not None:
            return chosen, version
        if not alias:
            raise RequestError(
                f"No version of {self.model} is live.", "Promote one: mlnb promote MODEL/NUMBER ALIAS.", status=503
            )
        known = ", ".join(sorted(self.aliases)) or "none"
        raise RequestError(
            f"{self.model} has no alias {alias[:64]!r}.", f"Use /predict or a live alias: {known}.", status=404
        )

    def alias_of(self, model: str, number: str) -> str:
        """Return an alias behind which a version stands that was asked for by name; "" where no number was asked for.

        Raises
        ------
        RequestError
            404 where it is not served.
        """
        if model not in ("", self.model):
            raise RequestError(
                f"There is no model {model[:100]!r} here.", f"This service has {self.model}.", status=404
            )
        if not number:
            return ""
        for alias, version in self.aliases.items():
            if str(version.number) == number:
                return alias
        known = ", ".join(sorted({str(version.number) for version in self.aliases.values()}))
        raise RequestError(
            f"{self.model} has no version {number[:20]!r} here.", f"Served are: {known or 'none'}.", status=404
        )


@dataclass(frozen=True, slots=True)
class Refused:
    """A routing that could not be loaded; `revision` is 0 where not even that could be read."""

    revision: int
    problem: str


class Router:
    """Follows the routing of one folder.

    Parameters
    ----------
    state : Path or None
        Folder whose ``aliases.json`` is followed as soon as it exists.
    bento : Path
        Folder that is used until then: the Bento's own source.
    """

    def __init__(self, state: Path | None, bento: Path) -> None:
        self._state = state
        self._bento = bento
        self._seen: tuple[int, ...] | None = None
        self.routing = Routing("", 0, MappingProxyType({}), "")
        self.refused: Refused | None = None

    def load(self) -> None:
        """Load the first routing.

        Raises
        ------
        MlnbError
            If the routing or a version in it cannot be loaded.
        """
        folder = self._folder()
        self._seen = _stamp(folder)
        self.routing = load_routing(folder, self.routing)

    async def follow(self) -> None:
        """Look at the folder every 20 ms for ever; swap to each new routing that loads."""
        await self._warm_up()
        while True:
            await asyncio.sleep(_POLL_S)
            await self.look()

    async def look(self) -> None:
        """Swap to the folder's routing where it is another one than was seen last."""
        folder = self._folder()
        stamp = _stamp(folder)
        if stamp == self._seen or stamp is None:
            return
        self._seen = stamp
        loading = asyncio.get_running_loop().run_in_executor(None, load_routing, folder, self.routing)
        await asyncio.wait([loading])
        if stamp != self._seen:  # who looked meanwhile has seen a newer one
            return
        error = loading.exception()  # anything: a hook is foreign code
        if error is None:
            self.routing, self.refused = loading.result(), None
            await self._warm_up()
        else:
            self.refused = Refused(_revision(folder), f"{type(error).__name__}: {error}")

    async def _warm_up(self) -> None:
        """Load the versions that are to stay in memory, as after a restart; one that cannot be is told and left out."""
        folder = self._folder()
        for number in self.routing.warm:
            if number in self.routing.loaded:
                continue
            loading = asyncio.get_running_loop().run_in_executor(None, _load_warm, folder, number)
            await asyncio.wait([loading])
            error = loading.exception()
            if error is None:
                loaded = {**self.routing.loaded, number: loading.result()}
                self.routing = replace(self.routing, loaded=MappingProxyType(loaded))
            else:
                _LOGGER.warning("%s/%s cannot be kept warm: %s", self.routing.model, number, error)

    def _folder(self) -> Path:
        if self._state is not None and (self._state / "aliases.json").is_file():
            return self._state
        return self._bento


def load_routing(folder: Path, current: Routing) -> Routing:
    """Return the routing of `folder`; versions that `current` has loaded already are taken from there.

    Raises
    ------
    ServiceError
        If ``aliases.json`` is missing or malformed, or a version it names is missing.
    NewerFormatError
        If ``aliases.json`` was written by a newer mlnb.
    MlnbError
        If a version cannot be loaded, as `mlnb.model.scorer.load_scorer` says.
    """
    asked = _read_aliases(folder / "aliases.json")
    live = {alias: _standing(folder, traffic) for alias, traffic in asked.traffic.items()}
    needed = {*asked.aliases.values(), *(number for traffic in live.values() for number in traffic.numbers)}
    versions = {number: _load_version(folder, asked, number, current.loaded) for number in sorted(needed)}
    aliases = {alias: versions[number] for alias, number in sorted(asked.aliases.items())}
    default = DEFAULT_ALIAS if DEFAULT_ALIAS in aliases else max(aliases, key=lambda a: aliases[a].number, default="")
    kept = {number: current.loaded[number] for number in asked.warm if number in current.loaded}
    routing = Routing(
        asked.model,
        asked.revision,
        MappingProxyType(aliases),
        default,
        loaded=MappingProxyType(kept | versions),
        warm=asked.warm,
    )
    spreads = {
        alias: _spread(routing, alias, traffic)
        for alias, traffic in live.items()
        if alias in aliases and traffic.numbers
    }
    return replace(routing, traffic=MappingProxyType(spreads)) if spreads else routing


@dataclass(frozen=True, slots=True)
class _Asked:
    """What an ``aliases.json`` asks for."""

    model: str
    revision: int
    aliases: Mapping[str, int]
    code: frozenset[str]
    warm: tuple[int, ...]
    traffic: Mapping[str, Traffic]


def _spread(routing: Routing, alias: str, traffic: Traffic) -> Spread:
    base = routing.aliases[alias].number
    routings = {
        number: replace(routing, aliases=MappingProxyType({**routing.aliases, alias: routing.loaded[number]}))
        for number in {base, *traffic.numbers}
    }
    shadows = tuple((routing.loaded[number], share) for number, share in traffic.shadows)
    return Spread(traffic, base, MappingProxyType(routings), shadows)


def _load_version(folder: Path, asked: _Asked, number: int, loaded: Mapping[int, LoadedVersion]) -> LoadedVersion:
    package = folder / "versions" / str(number)
    try:
        digest = file_digest(package / "package.json")  # which holds the digests of the other files
    except OSError as error:
        raise ServiceError(
            f"The package of {asked.model}/{number} is missing: {error}.",
            "Deploy the version again.",
            service=asked.model,
        ) from error
    known = loaded.get(number)
    if known is not None and known.digest == digest:
        return known
    scorer = load_scorer(package, allow_code=asked.code)
    usual = usual_of(package, scorer.signature)
    return LoadedVersion(number, f"{asked.model}/{number}", digest, scorer, package, usual)


def _load_warm(folder: Path, number: int) -> LoadedVersion:
    return _load_version(folder, _read_aliases(folder / "aliases.json"), number, {})


def _standing(folder: Path, traffic: Traffic) -> Traffic:
    """Return the traffic without a canary that a worker has ended.

    What that worker wrote stays until the project has written ``aliases.json`` anew.
    """
    ended = traffic.canary is not None and (folder / EVENTS / f"{traffic.id}.json").is_file()
    return replace(traffic, canary=None) if ended else traffic


def _read_aliases(path: Path) -> _Asked:
    try:
        document = json.loads(path.read_bytes())
        found = int(document["format"])
        if found > FORMAT:
            raise NewerFormatError(
                f"{path} has format {found}; this service knows {FORMAT}.",
                "Build the service again with this mlnb, or start it with the newer one.",
                path=str(path),
                found=found,
                known=FORMAT,
            )
        return _Asked(
            model=str(document["model"]),
            revision=int(document["revision"]),
            aliases={str(alias): int(number) for alias, number in document["aliases"].items()},
            code=frozenset(map(str, document["code"])),
            warm=tuple(map(int, document.get("warm", ()))),
            traffic={str(alias): traffic_from_json(one) for alias, one in document.get("traffic", {}).items()},
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ServiceError(
            f"The routing {path} cannot be read: {error!r}.", "Deploy the service again.", service=path.parent.name
        ) from error


def _revision(folder: Path) -> int:
    try:
        return int(json.loads((folder / "aliases.json").read_bytes())["revision"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _stamp(folder: Path) -> tuple[int, ...] | None:
    try:
        stat = (folder / "aliases.json").stat()
    except OSError:
        return None
    try:
        events = (folder / EVENTS).stat().st_mtime_ns
    except OSError:
        events = 0
    return stat.st_mtime_ns, stat.st_ino, stat.st_size, events
