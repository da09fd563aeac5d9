"""Every error that mlnb raises on purpose: two sentences, an exit code, and the things it is about.

The tree::

    MlnbError                  problem, remedy; exit_code 2
    ├── UsageError             the command line or a verb's arguments
    │   └── ParameterError     parameter
    ├── NotebookError          path, cell: the file cannot be read as a Python notebook
    ├── PlanError              cell, stage, name: the marks or the code cannot become a pipeline
    │   └── MarkError          cell: a mark is misspelt or contradicts itself
    ├── SettingsError          key: [tool.mlnb] or an MLNB_* variable
    ├── SecretError            name: a secret is missing, open to others, or trivial
    ├── PluginError            group, plugin: an entry point is missing or broken
    ├── StateError             path: the .mlnb folder
    │   ├── NewerFormatError   found, known: written by a newer mlnb
    │   ├── StorageError       path: full, read-only, not permitted
    │   ├── CorruptError       digest: bytes are not what was recorded
    │   ├── UntrustedError     digest, key: not signed by a key that this user trusts
    │   └── RemoteError        address: a bucket or web address cannot be reached, or holds something else
    ├── RunError               exit_code 1
    │   ├── StageError         stage, cell, line, ename, evalue: the user's code failed
    │   ├── HandoffError       name, giver, taker: a value cannot be handed over
    │   ├── PrunedError        a trial of a study was ended early, because others were better
    │   └── CancelledError     run: stopped by the user
    ├── ModelError             name: the value cannot become a model package
    │   ├── SignatureError     faults: rows do not fit the signature
    │   └── ParityError        exporter: no exporter reproduces the estimator
    ├── RegistryError          model, version, alias
    │   └── OvertakenError     another version holds the alias than the one the gates have looked at
    ├── ServiceError           service: a service cannot be built, started or reached
    │   ├── PortError          port
    │   └── RequestError       status, faults: the service refuses a request
    ├── MonitorError           model
    ├── PlatformError          platform, status: another tool's server cannot be reached, or refuses
    └── GateError              exit_code 3; verdicts
        └── PolicyError        actor, alias: who asks may not do that
"""

from __future__ import annotations

from collections.abc import Sequence


class MlnbError(Exception):
    """What went wrong with which thing, and what to do.

    Parameters
    ----------
    problem : str
        One sentence: what is wrong with which thing.
    remedy : str
        One sentence: what to do about it.

    Attributes
    ----------
    exit_code : int
        What the command line returns: 1 a stage or test failed, 2 usage or a refused plan, 3 a gate failed or the
        policy refuses.
    """

    exit_code = 2

    def __init__(self, problem: str, remedy: str) -> None:
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"{problem} {remedy}")


class UsageError(MlnbError):
    """The verb was asked for something that does not exist or does not fit together."""


class ParameterError(UsageError):
    """A run parameter is unknown or cannot be read as its type."""

    def __init__(self, problem: str, remedy: str, *, parameter: str) -> None:
        super().__init__(problem, remedy)
        self.parameter = parameter


class NotebookError(MlnbError):
    """The file cannot be read as a Python notebook. `cell` is 0 where the whole file is meant."""

    def __init__(self, problem: str, remedy: str, *, path: str, cell: int = 0, line: int = 0) -> None:
        super().__init__(problem, remedy)
        self.path = path
        self.cell = cell
        self.line = line


class PlanError(MlnbError):
    """The annotated notebook cannot become a pipeline. `cell` is the 1-based position in the notebook, 0 for none."""

    def __init__(self, problem: str, remedy: str, *, cell: int = 0, stage: str = "", name: str = "") -> None:
        super().__init__(problem, remedy)
        self.cell = cell
        self.stage = stage
        self.name = name


class MarkError(PlanError):
    """A mark is misspelt, unknown, or contradicts another mark."""


class SettingsError(MlnbError):
    """A setting is unknown or has the wrong type."""

    def __init__(self, problem: str, remedy: str, *, key: str) -> None:
        super().__init__(problem, remedy)
        self.key = key


class SecretError(MlnbError):
    """A secret is missing, can be read by others, or is too short to be hidden."""

    def __init__(self, problem: str, remedy: str, *, name: str) -> None:
        super().__init__(problem, remedy)
        self.name = name


class PluginError(MlnbError):
    """An entry point is missing, or loading it failed."""

    def __init__(self, problem: str, remedy: str, *, group: str, plugin: str) -> None:
        super().__init__(problem, remedy)
        self.group = group
        self.plugin = plugin


class StateError(MlnbError):
    """The project's .mlnb folder cannot be used."""

    def __init__(self, problem: str, remedy: str, *, path: str = "") -> None:
        super().__init__(problem, remedy)
        self.path = path


class NewerFormatError(StateError):
    """Something in .mlnb was written by a newer mlnb."""

    def __init__(self, problem: str, remedy: str, *, path: str = "", found: int, known: int) -> None:
        super().__init__(problem, remedy, path=path)
        self.found = found
        self.known = known

    @staticmethod
    def check(source: str, found: int, known: int, remedy: str = "Upgrade mlnb.") -> None:
        """Raise where `source`, a file or what it holds, was written in a format above the one that is known."""
        if found > known:
            problem = f"{source} has format {found}, this mlnb knows {known} at the most."
            raise NewerFormatError(problem, remedy, path=source, found=found, known=known)


class StorageError(StateError):
    """The disk is full, read-only, or not ours to write."""


class CorruptError(StateError):
    """Stored bytes are not the bytes that were recorded."""

    def __init__(self, problem: str, remedy: str, *, path: str = "", digest: str) -> None:
        super().__init__(problem, remedy, path=path)
        self.digest = digest


class UntrustedError(StateError):
    """Bytes that can execute code are not signed by a key that this user trusts."""

    def __init__(self, problem: str, remedy: str, *, path: str = "", digest: str, key: str = "") -> None:
        super().__init__(problem, remedy, path=path)
        self.digest = digest
        self.key = key


class RemoteError(StateError):
    """A bucket or web address cannot be reached or read; `address` is shown without credentials."""

    def __init__(self, problem: str, remedy: str, *, address: str) -> None:
        super().__init__(problem, remedy, path=address)
        self.address = address


class RunError(MlnbError):
    """A run did not finish."""

    exit_code = 1


class StageError(RunError):
    """The user's own code failed in a stage or a test.

    Attributes
    ----------
    cell, line : int
        1-based position of the cell in the notebook and of the line in that cell; 0 where unknown.
    """

    def __init__(
        self, problem: str, remedy: str, *, stage: str, cell: int = 0, line: int = 0, ename: str = "", evalue: str = ""
    ) -> None:
        super().__init__(problem, remedy)
        self.stage = stage
        self.cell = cell
        self.line = line
        self.ename = ename
        self.evalue = evalue


class HandoffError(RunError):
    """A value cannot travel from the stage that gives it to the stage that takes it."""

    def __init__(self, problem: str, remedy: str, *, name: str, giver: str, taker: str = "") -> None:
        super().__init__(problem, remedy)
        self.name = name
        self.giver = giver
        self.taker = taker


class PrunedError(RunError):
    """A trial of a study was ended early, because others were better at the same step."""


class CancelledError(RunError):
    """The user stopped the run."""

    def __init__(self, problem: str, remedy: str, *, run: str) -> None:
        super().__init__(problem, remedy)
        self.run = run


class ModelError(MlnbError):
    """A value cannot become a model package."""

    def __init__(self, problem: str, remedy: str, *, name: str = "") -> None:
        super().__init__(problem, remedy)
        self.name = name


class SignatureError(ModelError):
    """Rows do not fit a signature; `faults` names each."""

    def __init__(self, problem: str, remedy: str, *, name: str = "", faults: Sequence[str] = ()) -> None:
        super().__init__(problem, remedy, name=name)
        self.faults = tuple(faults)


class InexactError(ModelError):
    """A format could hold an estimator, but would answer otherwise on some rows."""


class ParityError(ModelError):
    """No exporter reproduces the estimator within the limits."""

    def __init__(self, problem: str, remedy: str, *, name: str = "", exporter: str = "") -> None:
        super().__init__(problem, remedy, name=name)
        self.exporter = exporter


class RegistryError(MlnbError):
    """A model, version or alias does not exist or cannot be moved."""

    def __init__(self, problem: str, remedy: str, *, model: str = "", version: int = 0, alias: str = "") -> None:
        super().__init__(problem, remedy)
        self.model = model
        self.version = version
        self.alias = alias


class OvertakenError(RegistryError):
    """The alias was moved, or its traffic changed, while somebody decided: it is not what gates or people looked at."""


class ServiceError(MlnbError):
    """A service cannot be built, started or reached."""

    def __init__(self, problem: str, remedy: str, *, service: str = "") -> None:
        super().__init__(problem, remedy)
        self.service = service


class PortError(ServiceError):
    """The port is taken by somebody else."""

    def __init__(self, problem: str, remedy: str, *, service: str = "", port: int) -> None:
        super().__init__(problem, remedy, service=service)
        self.port = port


class RequestError(ServiceError):
    """A service refuses a request: `status` of HTTP, `faults` names each wrong thing, `retry_after_s` is 0 for never.

    `allow` are the methods that the path takes, where that is what was wrong.
    """

    def __init__(
        self,
        problem: str,
        remedy: str,
        *,
        status: int,
        faults: Sequence[str] = (),
        service: str = "",
        retry_after_s: int = 0,
        challenge: str = "",
        allow: str = "",
    ) -> None:
        super().__init__(problem, remedy, service=service)
        self.status = status
        self.allow = allow
        self.faults = tuple(faults)
        self.retry_after_s = retry_after_s
        self.challenge = challenge


class MonitorError(MlnbError):
    """There is nothing to watch, or a label file cannot be read."""

    def __init__(self, problem: str, remedy: str, *, model: str = "") -> None:
        super().__init__(problem, remedy)
        self.model = model


class PlatformError(MlnbError):
    """Another tool's server cannot be reached or refuses; `status` is that of HTTP, 0 where there was no answer."""

    def __init__(self, problem: str, remedy: str, *, platform: str, status: int = 0) -> None:
        super().__init__(problem, remedy)
        self.platform = platform
        self.status = status


class GateError(MlnbError):
    """A gate failed; `verdicts` are the sentences that say by how much."""

    exit_code = 3

    def __init__(self, problem: str, remedy: str, *, verdicts: Sequence[str] = ()) -> None:
        super().__init__(problem, remedy)
        self.verdicts = tuple(verdicts)


class PolicyError(GateError):
    """The project's policy does not let this actor do that; force does not help."""

    def __init__(self, problem: str, remedy: str, *, actor: str, alias: str) -> None:
        super().__init__(problem, remedy, verdicts=(problem,))
        self.actor = actor
        self.alias = alias
