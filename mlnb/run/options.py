"""What a person asks of one run beyond notebook and parameters becomes `RunOptions`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlnb.store.manifest import Fields

KERNELS = ("fork", "pool", "spawn")


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a pipeline is to be run. The default runs what has changed, as parallel as the machine allows.

    Attributes
    ----------
    force : bool
        Execute every wanted stage, whatever is cached.
    start : tuple of str
        ``--from``: execute these stages and all behind them, whatever is cached; what lies before comes from the cache
        (and is executed where it is not there). Branches that none of them belongs to are not run.
    only : tuple of str
        Run these stages alone; what they take must be in the cache.
    until : tuple of str
        Only these stages and what they need; all where it is empty.
    verify : bool
        Read all bytes of a cached result before it is trusted, not only its file stamps.
    snapshot : bool
        Keep a copy of every data file that is read, so that the run can be reproduced when the file has changed.
    resume : str
        Id of an unfinished run whose parameters and options are taken, ``last`` for the newest; empty for a new run.
    kernel : str
        ``fork``, ``pool`` or ``spawn``; empty for the setting.
    executor : str
        ``local`` or the address of another, such as ``dask://10.0.0.1:8786``; empty for the setting.
    jobs : int
        Stages that may run at once; 0 for the setting, whose 0 is as many as there are cores.
    seed : int
        Of `random`, numpy and the hashes of strings in every kernel. Another seed than 0 executes every wanted stage,
        and its results are not kept for others.
    observe : bool
        With another seed than 0: note what estimators are fitted on and asked about (`mlnb.run.honesty`).
    """

    force: bool = False
    start: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    until: tuple[str, ...] = ()
    verify: bool = False
    snapshot: bool = False
    resume: str = ""
    kernel: str = ""
    executor: str = ""
    jobs: int = 0
    seed: int = 0
    observe: bool = False

    @classmethod
    def from_json(cls, fields: Fields) -> RunOptions:
        """Read them from a run's record."""
        return cls(
            force=fields.truth("force"),
            start=fields.texts("start"),
            only=fields.texts("only"),
            until=fields.texts("until"),
            verify=fields.truth("verify"),
            snapshot=fields.truth("snapshot"),
            resume=fields.text("resume"),
            kernel=fields.text("kernel"),
            executor=fields.text("executor"),
            jobs=fields.integer("jobs"),
            seed=fields.integer("seed"),
            observe=fields.mapping.get("observe") is True,
        )

    def to_json(self) -> dict[str, object]:
        """Return a mapping that JSON can spell."""
        return asdict(self)

    @property
    def selects(self) -> bool:
        """Whether something is said about which stages are executed."""
        return bool(self.force or self.start or self.only or self.until or self.seed)


DEFAULTS = RunOptions()
