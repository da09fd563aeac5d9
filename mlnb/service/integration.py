"""A Bento becomes a `Rehearsal`: it was started from its own folder in its own environment, asked, loaded and stopped.

The environment is made from the Bento's lock and holds nothing else (`mlnb.service.environment`); only where the
settings say ``environment = "installed"`` does it run in mlnb's own.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from mlnb.errors import ServiceError
from mlnb.service.environment import environment_of
from mlnb.service.latency import measure
from mlnb.service.lock import FILE as LOCK
from mlnb.service.lock import INSTALLED, digest_of_lock
from mlnb.service.skew import Skew, read_sample, replay
from mlnb.service.target import Target
from mlnb.settings import Settings


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What was found.

    Attributes
    ----------
    skew : Skew
        What HTTP gave for the sample, beside what the pipeline gave.
    numbers : dict of str to float
        Latency and throughput as `mlnb.service.latency.measure` gives them, ``skew_max_abs``, ``skew_flips``, and
        ``start_s``: seconds from starting the process to its readiness.
    environment : str
        Digest of the lock whose environment it ran in; empty for mlnb's own.
    """

    skew: Skew
    numbers: dict[str, float]
    environment: str

    def sentence(self) -> str:
        """Say it in one line."""
        where = "its own environment" if self.environment else "mlnb's environment"
        return (
            f"in {where}: {self.skew.rows} rows equal, ready in {self.numbers['start_s']:.1f} s, "
            f"{self.numbers['throughput_rps']:.0f} answers/s, p99 {self.numbers['latency_p99_ms']:.1f} ms"
        )


def rehearse(bento: Path, number: int, ref: str, target: Target, settings: Settings) -> Rehearsal:
    """Start a Bento, wait until it is ready, replay a version's sample, load it, and stop it.

    Parameters
    ----------
    bento : Path
        Its folder.
    number : int
        The version whose sample is replayed; the Bento's default alias leads to it.
    ref : str
        How people write the version, for messages.
    target : Target
        Where it is tried.
    settings : Settings
        ``environment``, ``parity_limit``, ``latency_requests`` and ``load_rps`` are used.

    Raises
    ------
    ServiceError
        If its environment cannot be made, it does not start there, or it answers otherwise than the pipeline did.
    """
    source = bento / "src"
    package = source / "versions" / str(number)
    python, digest = None, ""
    if settings.environment != INSTALLED:
        lock = (source / LOCK).read_text("utf-8")
        python, digest = environment_of(lock, ref), digest_of_lock(lock)
    started = time.perf_counter()
    with target.trial(bento, python=python) as trial:
        ready_s = time.perf_counter() - started
        skew = replay(trial.url, package, limit=settings.parity_limit)
        if not skew.passed:
            raise ServiceError(
                f"The service answers otherwise than the pipeline on the sample of {ref}: the largest "
                f"difference is {skew.max_abs:.3g} (limit {skew.limit:g}), {skew.flips} labels differ.",
                "Make the hooks do what the stages do, and deploy again.",
                service=trial.name,
            )
        numbers = measure(trial.url, read_sample(package), settings.latency_requests, settings.load_rps)
    numbers |= {"skew_max_abs": skew.max_abs, "skew_flips": float(skew.flips), "start_s": ready_s}
    return Rehearsal(skew, numbers, digest)
