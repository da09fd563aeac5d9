"""Inside a stage's kernel: artifacts become variables before its cells run, and variables artifacts after them.

The engine's spec says what to take and give; the kernel answers in a result file beside it (`mlnb.run.spec`).
Rendered notebooks call `take`, `give` and `run_tests`; nothing here imports more than the values need.
"""

from __future__ import annotations

import inspect
import linecache
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from mlnb.errors import HandoffError, MlnbError
from mlnb.model.asked import ask
from mlnb.model.evaluation import Evaluation, evaluations_in, metric_of
from mlnb.model.metric_names import is_metric
from mlnb.run import frames, intermediate
from mlnb.run.record import CaseRecord
from mlnb.run.secret import refuse_in_artifact
from mlnb.run.spec import FORMAT, CaseCell, Result, Spec
from mlnb.store.artifact import Artifact
from mlnb.store.codec import Taken, changed, decode, encode, hand_out
from mlnb.store.codecs.objects import prefer_definitions
from mlnb.store.files import FileStore
from mlnb.store.manifest import read_json, write_json
from mlnb.store.redaction import KNOWN

_taken: dict[str, Taken] = {}


def take(spec_path: str) -> dict[str, object]:
    """Return the stage's inputs by name, each private and writable.

    Raises
    ------
    UntrustedError, CorruptError
        If a value may not or cannot be loaded; the engine is told as well.
    """
    spec = _spec(spec_path)
    store = FileStore(Path(spec.artifacts))
    prefer_definitions(sys.modules["__main__"].__dict__)  # the setup's classes, which have just been defined
    _taken.clear()
    values = {}
    try:
        for artifact in spec.inputs:
            value = decode(artifact, store, verify=spec.verify)
            values[artifact.name], _taken[artifact.name] = value, hand_out(artifact, value)
    except MlnbError as error:
        _answer(spec, _refusal(error))
        raise
    ask(spec.slices, of_stage=True)
    frames.stand(Path(spec_path).parent, store, _taken, first=bool(spec.tests))
    intermediate.begin(Path(spec_path).parents[2])
    if spec.observe:
        from mlnb.run import honesty_kernel

        honesty_kernel.begin(Path(spec_path).parent)
    return values


def give(spec_path: str, namespace: Mapping[str, object]) -> None:
    """Store what later stages take, and notice inputs that were changed without being given.

    Raises
    ------
    HandoffError
        If a name is not bound, or its value cannot be stored; the engine is told as well.
    StorageError
        If the disk is full, read-only or not ours.
    """
    spec = _spec(spec_path)
    store = FileStore(Path(spec.artifacts))
    try:
        bound, measured = _measured(spec, namespace)
        names = (*spec.takers, *(name for name in bound if name not in spec.takers))
        artifacts = tuple(_given(spec, name, measured, store) for name in names)
        warnings = tuple(
            f"Stage {spec.stage!r} changed {name!r} without giving it: later stages see the value from before."
            for name, taken in _taken.items()
            if name not in spec.takers and changed(taken, store)
        )
    except MlnbError as error:
        _answer(spec, _refusal(error))
        raise
    _taken.clear()
    _answer(spec, Result(artifacts=artifacts, warnings=warnings))


def run_tests(spec_path: str, namespace: Mapping[str, object]) -> None:
    """Call every ``test_*`` function of the test's cells, each a case of its own, and print what failed."""
    spec = _spec(spec_path)
    cases = []
    for cell in spec.tests:
        for name in cell.functions:
            case = _run_case(name, cell, namespace)
            cases.append(case)
            print(f"{case.state}: {name}" + (f": {case.message}" if case.message else ""))
    _answer(spec, Result(cases=tuple(cases)))


def _measured(spec: Spec, namespace: Mapping[str, object]) -> tuple[Mapping[str, Evaluation], Mapping[str, object]]:
    """Return the evaluations that the stage has bound, and the variables with the metrics that its marks ask for."""
    bound = evaluations_in(namespace, {name: taken.value() for name, taken in _taken.items()})
    asked = [name for name in spec.takers if name not in namespace and is_metric(name)]
    return bound, {**namespace, **{name: metric_of(name, spec.stage, bound) for name in asked}}


def _given(spec: Spec, name: str, namespace: Mapping[str, object], store: FileStore) -> Artifact:
    """Store one variable."""
    giver, taker = f"stage {spec.stage!r}", ", ".join(spec.takers.get(name, ()))
    if name not in namespace:
        raise HandoffError(
            f"Stage {spec.stage!r} ended without a variable {name!r}, which {taker or 'its marks'} takes.",
            "Bind it on every path through the stage, or name what the stage gives with --outputs.",
            name=name,
            giver=spec.stage,
            taker=taker,
        )
    artifact = encode(name, namespace[name], store, spec.key, giver=giver, taker=taker)
    refuse_in_artifact(artifact, store, giver=giver, taker=taker)
    return artifact


def _run_case(name: str, cell: CaseCell, namespace: Mapping[str, object]) -> CaseRecord:
    function = namespace.get(name)
    started = time.perf_counter()
    message = ""
    if not inspect.isfunction(function):
        message = f"{name} was not defined: cell {cell.cell} failed before it."
    elif inspect.iscoroutinefunction(function) or inspect.signature(function).parameters:
        message = f"{name} must be a plain function without arguments: use the stage's variables by their names."
    else:
        try:
            function()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001  # a test may raise anything: that is its result
            message = _described(error, function.__code__.co_filename, cell.first_line)
            frames.keep(error)
    state = "failed" if message else "passed"
    return CaseRecord(name, cell.cell, state, message, round(time.perf_counter() - started, 6))


def _described(error: BaseException, file: str, first_line: int) -> str:
    """Say what was raised, on which line of the notebook's cell, and how that line reads."""
    trace, line = error.__traceback__, 0
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == file:
            line = trace.tb_lineno
        trace = trace.tb_next
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return f"{text} (line {line + first_line - 1}: {linecache.getline(file, line).strip()})" if line else text


def _refusal(error: MlnbError) -> Result:
    return Result(ename=type(error).__name__, problem=error.problem, remedy=error.remedy)


def _spec(spec_path: str) -> Spec:
    return Spec.from_json(read_json(Path(spec_path), FORMAT))


def _answer(spec: Spec, result: Result) -> None:
    write_json(Path(spec.result), KNOWN.fields(result.measured().to_json()))
