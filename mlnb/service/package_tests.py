"""The ``%%test`` cells that name a deployed model are asked of its package: what passed must pass with it, too.

The package stands for the variable (`mlnb.model.packaged`). A case that asks for what only the estimator has, such as
its coefficients, tells nothing about the package and is counted apart.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mlnb.errors import StageError
from mlnb.model.packaged import OnlyPredictsError, PackagedModel
from mlnb.pipeline.graph import Input
from mlnb.run.record import CaseRecord, RunRecord
from mlnb.run.retest import Retest, retest
from mlnb.settings import Settings
from mlnb.store.folder import StateFolder

_REMEDY = "See the executed test below {folder}; deploy an estimator that its export reproduces, or repair the test."


@dataclass(frozen=True, slots=True)
class PackageTests:
    """What the tests of a notebook found when they were asked of the package.

    Attributes
    ----------
    passed : int
        Cases that passed.
    beyond : int
        Cases that ask for what a package has not.
    """

    passed: int
    beyond: int

    def numbers(self) -> dict[str, float]:
        """Return them as evidence."""
        return {"package_tests_passed": float(self.passed), "package_tests_beyond": float(self.beyond)}

    def sentence(self) -> str:
        """Say it in one line; empty where no test names the model."""
        if not self.passed and not self.beyond:
            return ""
        passed = "1 test case passes" if self.passed == 1 else f"{self.passed} test cases pass"
        asks = "asks" if self.beyond == 1 else "ask"
        beyond = f", {self.beyond} {asks} for more than a package has" if self.beyond else ""
        return f"{passed} with the package{beyond}; "


def run_package_tests(
    model: Input,
    unpack: Callable[[Path], object],
    ref: str,
    record: RunRecord,
    state: StateFolder,
    settings: Settings,
) -> PackageTests:
    """Run the tests that name the model with its package in its place.

    Parameters
    ----------
    model : Input
        The deployed variable.
    unpack : callable
        Writes the package to a folder.
    ref : str
        How people write the version, for messages.
    record : RunRecord
        The run, whose tests have passed with the estimator.

    Raises
    ------
    StageError
        If a case fails that does not ask for what only the estimator has.
    """
    with tempfile.TemporaryDirectory(prefix="mlnb-package-") as folder:
        package = Path(folder) / "package"
        unpack(package)
        tested = retest(model, PackagedModel(str(package)), record, state, settings)
    passed = beyond = 0
    for one in tested:
        for case in one.record.cases:
            passed += case.state == "passed"
            beyond += _beyond(case)
        _check(one, ref, state.runs / record.id / "packaged")
    return PackageTests(passed, beyond)


def _beyond(case: CaseRecord) -> bool:
    return case.state == "failed" and case.message.startswith(f"{OnlyPredictsError.__name__}:")


def _check(tested: Retest, ref: str, folder: Path) -> None:
    failed = [case for case in tested.record.cases if case.state == "failed" and not _beyond(case)]
    fault = tested.record.error
    name = tested.stage.name
    if failed:
        raise StageError(
            f"{failed[0].name} of {name!r} passes with the estimator and fails with the package of {ref}: "
            f"{failed[0].message}.",
            _REMEDY.format(folder=folder),
            stage=name,
            cell=failed[0].cell,
        )
    if fault is not None and not tested.record.cases:
        raise StageError(
            f"{name!r} cannot be run with the package of {ref}: {fault.problem}",
            _REMEDY.format(folder=folder),
            stage=name,
            cell=fault.cell,
            line=fault.line,
        )
