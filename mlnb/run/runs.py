"""A project's runs, to look at: list them, read one, compare two, stand in a stage, load a value that one has given."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlnb.errors import UsageError
from mlnb.run.history import list_runs, read_run
from mlnb.run.record import RunRecord
from mlnb.run.values import artifact_of
from mlnb.store.codec import decode
from mlnb.store.folder import StateFolder

if TYPE_CHECKING:
    from mlnb.run.debug import Standpoint
    from mlnb.run.difference import RunDifference
    from mlnb.run.snapshot import Restored
    from mlnb.run.verify import Verification

_BACK = re.compile(r"last(?:~(\d+))?")


@dataclass(frozen=True, slots=True)
class Runs:
    """What was run in a project.

    Attributes
    ----------
    state : StateFolder
        The project's state.
    """

    state: StateFolder

    def list(self, notebook: str = "", state: str = "", limit: int = 0) -> tuple[RunRecord, ...]:
        """Return runs, the newest first.

        Parameters
        ----------
        notebook : str
            Only of this notebook: its path, relative to the project or to the working directory, or its bare name.
        state : str
            Only those that are ``running``, ``done``, ``failed`` or ``cancelled``.
        limit : int
            At the most so many; 0 for all.
        """
        found = tuple(
            record
            for record in list_runs(self.state)
            if (not notebook or self._is_of(record, notebook)) and state in ("", record.state)
        )
        return found[:limit] if limit else found

    def read(self, run: str) -> RunRecord:
        """Return one run by its id, the beginning of its id, ``last``, or ``last~1`` for the one before.

        Raises
        ------
        UsageError
            If there is none, or several begin so.
        """
        return read_run(self.state, self._resolved(run))

    def difference(self, before: str, after: str) -> RunDifference:
        """Return what differs between two runs: parameters, code, data, environment, metrics, outputs."""
        from mlnb.run.difference import difference

        return difference(self.state, self.read(before), self.read(after))

    def restore(self, run: str, folder: Path) -> Restored:
        """Put a run's notebook, parameters and data, as they were, into a new folder; see `mlnb.run.snapshot`."""
        from mlnb.run.snapshot import restore

        return restore(self.state, self.read(run), folder)

    def standpoint(self, run: str, stage: str = "") -> Standpoint:
        """Return what a stage of a run saw; without a name, the first stage that failed.

        Raises
        ------
        UsageError
            If there is no such run or stage, or none has failed.
        """
        from mlnb.run.debug import standpoint

        record = self.read(run)
        failed = next((one.name for one in record.stages if one.state == "failed"), "")
        if not stage and not failed:
            known = ", ".join(one.name for one in record.stages)
            raise UsageError(f"No stage of run {record.id} has failed.", f"Name the one to stand in: {known}.")
        return standpoint(self.state, record, stage or failed)

    def verification(self, record: RunRecord, tolerance: float) -> Verification:
        """Return what a clean run does not give again of what was saved in its notebook."""
        from mlnb.run.verify import verification

        return verification(self.state, record, self.list(), tolerance)

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

    def _is_of(self, record: RunRecord, notebook: str) -> bool:
        path = self.state.project / record.notebook
        return notebook in (record.notebook, path.name, path.stem) or Path(notebook).resolve() == path.resolve()

    def _resolved(self, run: str) -> str:
        """Return the id that a reference means; one that means nothing comes back as it is."""
        known = sorted(folder.name for folder in self.state.runs.iterdir() if (folder / "run.json").is_file())
        back = _BACK.fullmatch(run)
        if back:
            steps = int(back[1] or 0)
            if steps >= len(known):
                there = f"There are only {len(known)} runs" if known else "There is no run"
                raise UsageError(f"{there} in {self.state.runs}: {run!r} is none.", "List them with `mlnb runs list`.")
            return known[-1 - steps]
        if run in known or not run:
            return run
        begun = [name for name in known if name.startswith(run)]
        if len(begun) > 1:
            raise UsageError(f"{len(begun)} runs begin with {run!r}: {', '.join(begun[:5])}.", "Say more of the id.")
        return begun[0] if begun else run
