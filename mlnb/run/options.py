"""What a person asks of one run beyond notebook and parameters becomes `RunOptions`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a pipeline is to be run. The default runs what has changed, as parallel as the machine allows.

    Attributes
    ----------
    force : bool
        Execute every wanted stage, whatever is cached.
    start : tuple of str
        ``--from``: execute these stages and all behind them, whatever is cached; what lies before comes from the cache.
    only : tuple of str
        Execute these stages alone; what they take must be in the cache.
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
        Stages that may run at once; 0 for as many as there are cores.
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
