"""A live kernel becomes the list of what a clean run would not share with it, or the place where a stage once stood."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from mlnb.errors import MlnbError, UsageError
from mlnb.faces.board import SIGNS

if TYPE_CHECKING:
    from mlnb.faces.debug import Debugging
    from mlnb.faces.trail import Doubt, Trail
    from mlnb.run.record import RunRecord
    from mlnb.store.artifact import Artifact
    from mlnb.store.files import FileStore


def stand(debugging: Debugging, words: Sequence[str]) -> None:
    """Bring the kernel to where a stage stood, or back: ``%mlnb runs debug [RUN] [STAGE] [--frame] [--back]``."""
    from mlnb.faces.debug import entered_lines
    from mlnb.faces.groups import runs_debug
    from mlnb.faces.verb import Asked

    given = runs_debug.make_context("runs debug", list(words)).params
    if given["back"]:
        returned = debugging.back()
        print("The namespace is as it was before" + (f"; given back: {', '.join(returned)}." if returned else "."))
        return
    project = Asked(folder=given["project"]).project()
    here = project.runs.standpoint(given["run"], given["stage"])
    entered = debugging.enter(here, project.state.files, frame=given["frame"])
    if not given["quiet"]:
        print("\n".join(entered_lines(here, entered, str(Path.cwd()))))


def warning(words: Sequence[str]) -> Callable[[], bool] | None:
    """Return what `ExecutedCells.warns` becomes by ``%mlnb verify --warn on`` or ``off``."""
    if list(words) not in (["on"], ["off"]):
        raise UsageError("`--warn` takes `on` or `off`.", "Write %mlnb verify --warn off.")
    return (lambda: True) if words[0] == "on" else None


def verify_kernel(trail: Trail, names: Mapping[str, object], notebook: Path, words: Sequence[str]) -> None:
    """Compare this kernel and the saved outputs with a clean run of the saved notebook, and show what differs.

    Differences are shown, not raised: nobody is stopped by them.

    Raises
    ------
    MlnbError
        If the saved notebook cannot be planned or run; what is known of this kernel is shown all the same.
    """
    from mlnb.faces.follow import follow
    from mlnb.faces.html import LiveBoard
    from mlnb.faces.verb import Asked
    from mlnb.faces.verify import verify
    from mlnb.notebook.document import read_document

    given = verify.make_context("verify", [str(notebook), *words]).params
    doubts = list(trail.doubts(read_document(notebook)))
    board = LiveBoard()
    lines: list[str] = list(_doubt_lines(doubts))
    try:
        outcome = follow(["verify", str(notebook), *words], board.take, Path.cwd())
        facts = cast("Mapping[str, object]", outcome.result)
        project = Asked(folder=given["project"]).project(notebook)
        record = project.runs.read(str(facts["run"]))
        lines.extend(_name_lines(record, names, project.state.files, given["tolerance"]))
        lines.append(outcome.text)
    finally:
        board.draw("\n".join(lines))


def _doubt_lines(doubts: Sequence[Doubt]) -> Iterator[str]:
    yield from (f"{SIGNS['failed']} {doubt.problem}" for doubt in doubts)
    if not doubts:
        yield f"{SIGNS['done']} What this kernel has executed is what the file holds, in its order."


def _name_lines(record: RunRecord, names: Mapping[str, object], store: FileStore, tolerance: float) -> Iterator[str]:
    """Yield how this kernel's names differ from what the clean run gave, the last giver of a name counting."""
    from mlnb.run.apart import apart

    missing: list[str] = []
    same = 0
    for name, value in record.parameters.items():
        if name in names and (how := apart(value, names[name])):
            yield f"{SIGNS['failed']} The parameter `{name}` is not that of the clean run: {how}."
    given = {one.name: (stage.name, one) for stage in record.stages for one in stage.artifacts}
    for name, (stage, artifact) in given.items():
        if name not in names:
            missing.append(name)
        elif how := _how(artifact, names[name], store, tolerance):
            yield f"{SIGNS['failed']} `{name}` (stage {stage}) is not what a clean run gives: {how}."
        else:
            same += 1
    if same:
        yield f"{SIGNS['done']} {same} of {len(given)} values that stages give are what a clean run gives."
    if missing:
        yield f"- not in this kernel: {', '.join(missing)}"


def _how(artifact: Artifact, value: object, store: FileStore, tolerance: float) -> str:
    from mlnb.run.apart import apart
    from mlnb.store.codec import decode

    try:
        return apart(decode(artifact, store), value, tolerance)
    except MlnbError as error:
        return f"it cannot be compared ({error.problem})"
