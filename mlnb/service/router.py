"""``aliases.json`` and version folders become one immutable `Routing`, swapped in one assignment.

The folder that is followed holds ``versions/<number>/``, each a model package, and ``aliases.json``, format 1::

    {"format": 1, "model": "delays", "revision": 3, "aliases": {"production": 7}, "code": ["sha256:..."]}

``code`` are the digests of the pickles, skops files and hooks whose signatures were checked by who wrote the file; no
other may be loaded. A new routing is loaded off the event loop while the old one answers; one that cannot be loaded
leaves the old one in place and is told by ``/readyz``.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from mlnb.errors import NewerFormatError, RequestError, ServiceError
from mlnb.model.scorer import Scorer, file_digest, load_scorer

FORMAT = 1
DEFAULT_ALIAS = "production"
_POLL_S = 0.1


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
    """

    number: int
    ref: str
    digest: str
    scorer: Scorer
    package: Path = Path()


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
    """

    model: str
    revision: int
    aliases: Mapping[str, LoadedVersion]
    default: str

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
        self._seen: tuple[int, int, int] | None = None
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
        """Look at the folder ten times a second for ever; swap to each new routing that loads."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_POLL_S)
            folder = self._folder()
            stamp = _stamp(folder)
            if stamp == self._seen or stamp is None:
                continue
            self._seen = stamp
            loading = loop.run_in_executor(None, load_routing, folder, self.routing)
            await asyncio.wait([loading])
            error = loading.exception()  # anything: a hook is foreign code
            if error is None:
                self.routing, self.refused = loading.result(), None
            else:
                self.refused = Refused(_revision(folder), f"{type(error).__name__}: {error}")

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
    model, revision, numbers, code = _read_aliases(folder / "aliases.json")
    loaded = {version.number: version for version in current.aliases.values()}
    versions: dict[int, LoadedVersion] = {}
    for number in sorted(set(numbers.values())):
        package = folder / "versions" / str(number)
        try:
            digest = file_digest(package / "package.json")  # which holds the digests of the other files
        except OSError as error:
            raise ServiceError(
                f"The package of {model}/{number} is missing: {error}.", "Deploy the version again.", service=model
            ) from error
        known = loaded.get(number)
        if known is None or known.digest != digest:
            known = LoadedVersion(number, f"{model}/{number}", digest, load_scorer(package, allow_code=code), package)
        versions[number] = known
    aliases = {alias: versions[number] for alias, number in sorted(numbers.items())}
    default = DEFAULT_ALIAS if DEFAULT_ALIAS in aliases else max(aliases, key=lambda a: aliases[a].number, default="")
    return Routing(model, revision, MappingProxyType(aliases), default)


def _read_aliases(path: Path) -> tuple[str, int, dict[str, int], frozenset[str]]:
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
        aliases = {str(alias): int(number) for alias, number in document["aliases"].items()}
        code = frozenset(map(str, document["code"]))
        return str(document["model"]), int(document["revision"]), aliases, code
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ServiceError(
            f"The routing {path} cannot be read: {error!r}.", "Deploy the service again.", service=path.parent.name
        ) from error


def _revision(folder: Path) -> int:
    try:
        return int(json.loads((folder / "aliases.json").read_bytes())["revision"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _stamp(folder: Path) -> tuple[int, int, int] | None:
    try:
        stat = (folder / "aliases.json").stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_ino, stat.st_size
