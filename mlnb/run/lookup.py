"""Stages whose givers are known become keys, and keys the results that are cached under them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mlnb.pipeline.fingerprint import Fingerprints, Key
from mlnb.pipeline.graph import Json, Pipeline, Stage
from mlnb.run import cache
from mlnb.run.choice import Choice
from mlnb.store.artifact import Artifact
from mlnb.store.folder import StateFolder


@dataclass(frozen=True, slots=True)
class Found:
    """What is known of a stage before it runs: its key, what it takes, and the cached result, if there is one."""

    key: Key
    inputs: tuple[Artifact, ...]
    hit: cache.CachedStage | None


class Lookup:
    """The cache as one run sees it. Each stage is looked up once: what was found stays true for the run.

    Parameters
    ----------
    values : mapping of str to JSON value
        A value for every parameter.
    verify : bool
        Whether all bytes of a result are read before it counts.
    """

    def __init__(
        self, pipeline: Pipeline, values: Mapping[str, Json], state: StateFolder, verify: bool = False
    ) -> None:
        self._state = state
        self._verify = verify
        self._fingerprints = Fingerprints(pipeline, values, root=state.project)
        self._given: dict[tuple[str, str], Artifact] = {}
        self._found: dict[str, Found] = {}

    def give(self, stage: str, artifacts: Iterable[Artifact]) -> None:
        """Note what a stage has given."""
        self._given.update(((stage, artifact.name), artifact) for artifact in artifacts)

    def find(self, stage: Stage, *, reuse: bool = True) -> Found:
        """Return what is known of a stage whose givers have been noted; without `reuse` the cache is not asked."""
        if stage.name not in self._found:
            inputs = tuple(self._given[taken.giver, taken.name] for taken in stage.inputs)
            identities = {artifact.name: artifact.identity for artifact in inputs}
            key = self._fingerprints.key(stage, identities)
            self._found[stage.name] = Found(key, inputs, self.hit(key.digest) if reuse else None)
        return self._found[stage.name]

    def hit(self, key: str) -> cache.CachedStage | None:
        """Return the result under a key."""
        return cache.look_up(self._state, key, verify=self._verify)

    def missing(self, choice: Choice) -> str:
        """Return the first stage that would have to be executed, empty for none."""
        for stage in choice.nodes:
            hit = None if stage.name in choice.forced else self.find(stage).hit
            if hit is None:
                return stage.name
            self.give(stage.name, hit.artifacts)
        return ""
