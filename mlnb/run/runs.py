"""A project's runs, to look at: list them, read one, load a value that a stage has given."""

from __future__ import annotations

from dataclasses import dataclass

from mlnb.errors import UsageError
from mlnb.run.history import list_runs, read_run
from mlnb.run.record import RunRecord
from mlnb.run.values import artifact_of
from mlnb.store.codec import decode
from mlnb.store.folder import StateFolder


@dataclass(frozen=True, slots=True)
class Runs:
    """What was run in a project.

    Attributes
    ----------
    state : StateFolder
        The project's state.
    """

    state: StateFolder

    def list(self) -> tuple[RunRecord, ...]:
        """Return all runs, the newest first."""
        return list_runs(self.state)

    def read(self, run: str) -> RunRecord:
        """Return one run. Raises `UsageError` where there is none."""
        return read_run(self.state, run)

    def load(self, name: str, run: str = "", stage: str = "") -> object:
        """Return a value that a stage has given: ``project.runs.load("model")``.

        Parameters
        ----------
        name : str
            The variable.
        run : str
            Id of the run; the newest one that gave it where empty.
        stage : str
            The stage that gave it, where several did.

        Raises
        ------
        UsageError
            If no run gave it.
        UntrustedError
            If loading it could execute code that nobody this user trusts has signed.
        """
        for record in (self.read(run),) if run else self.list():
            if any(artifact.name == name for part in record.stages for artifact in part.artifacts):
                return decode(artifact_of(record, name, stage), self.state.files)
        raise UsageError(f"No run has given {name!r}.", "Run the notebook first: mlnb run NOTEBOOK.")
