"""What the server extension says to a front end, and hears from it: the source of ``labextension/src/types.ts``.

``python labextension/generate_types.py`` writes the JSON Schema and the TypeScript out of these classes; a test
compares.
Whoever changes a message in a way that an older front end misreads raises `API_VERSION`: the bundle and the server come
in one wheel, but a browser may hold yesterday's bundle, and it is told to reload.

`cell` is the 1-based position among all cells of the saved notebook, 0 for none; a front end, where cells may be moved
while a run goes on, notes which cell stood where when it saved. All times are seconds.
"""

from __future__ import annotations

from typing import Literal, NotRequired, TypeAlias, TypedDict

API_VERSION = 1

RunState: TypeAlias = Literal["running", "done", "failed", "cancelled"]
StageStateName: TypeAlias = Literal["queued", "running", "done", "cached", "failed", "skipped", "cancelled"]
MarkKind: TypeAlias = Literal["setup", "stage", "test", "deploy", "parameters", "metrics", "skip"]


class Fault(TypedDict):
    """What went wrong, what to do, and where: `line` is 1-based in `cell`, 0 where unknown."""

    problem: str
    remedy: str
    stage: str
    cell: int
    line: int


class RunRequest(TypedDict):
    """``POST runs``: the saved notebook, relative to the server's root, and values for its parameters."""

    path: str
    parameters: NotRequired[dict[str, str | float | bool | None]]


class RunAccepted(TypedDict):
    """The answer: the id to follow or cancel the run by, as long as this server lives."""

    id: str


class StageState(TypedDict):
    """One stage or test (``test-evaluate``) of a run; `seconds` is its time so far, or in all.

    `position` of `total` cells are begun while it runs.
    """

    name: str
    state: StageStateName
    seconds: float
    position: int
    total: int


class RunSnapshot(TypedDict):
    """A run as it stands; changes with a greater `sequence` follow in the stream."""

    api: int
    id: str
    path: str
    sequence: int
    state: RunState
    seconds: float
    stages: list[StageState]
    fault: Fault | None


class RunChange(TypedDict):
    """One line of the stream: the stage as it is now (None: only the run changed), and the run's own state."""

    sequence: int
    state: RunState
    seconds: float
    stage: StageState | None
    fault: Fault | None


class CellText(TypedDict):
    """A code cell as it stands in the editor, saved or not."""

    source: str
    tags: list[str]


class MarksRequest(TypedDict):
    """``POST marks``: the cells whose marks are asked for."""

    cells: list[CellText]


class CellMark(TypedDict):
    """What a cell is marked as. `node` is the name its state is told by in a run, "" where a run has none.

    `problem` and `remedy` are said of a mark that cannot be read; then `kind` is "fault".
    """

    kind: MarkKind | Literal["fault"]
    name: str
    node: str
    problem: str
    remedy: str


class MarksReply(TypedDict):
    """One entry for each cell, in the order asked; None for a cell without a mark."""

    api: int
    marks: list[CellMark | None]


class PlannedStage(TypedDict):
    """A stage or test of the saved notebook, in the order it runs."""

    name: str
    kind: Literal["stage", "test"]
    cells: list[int]
    inputs: list[str]
    outputs: list[str]
    upstream: list[str]


class PlannedParameter(TypedDict):
    """A parameter of the saved notebook and its default."""

    name: str
    type: str
    default: object


class PlanReply(TypedDict):
    """``GET plan``: the saved notebook as a pipeline; `not_run` are the cells that only explore."""

    api: int
    path: str
    stages: list[PlannedStage]
    deploys: list[str]
    parameters: list[PlannedParameter]
    not_run: list[int]


class PromotionVersion(TypedDict):
    """A version that may be promoted: its aliases, and in words what was measured; `created_at` is ISO 8601."""

    ref: str
    aliases: list[str]
    metrics: str
    exporter: str
    created_at: str
    created_by: str


class ComparedNumber(TypedDict):
    """A number of candidate and champion as people read it, "" where it was not measured; who is ahead, if anybody."""

    name: str
    candidate: str
    champion: str
    difference: str
    ahead: Literal["candidate", "champion", "neither", ""]


class GateVerdict(TypedDict):
    """What a gate found."""

    gate: str
    passed: bool
    sentence: str


class GivenApproval(TypedDict):
    """Who approved, when (ISO 8601) and why; `counts` is false for who registered the version."""

    by: str
    at: str
    reason: str
    counts: bool


class AliasMove(TypedDict):
    """One move of an alias; `from_ref` is "" where it pointed to nothing, `failed` are the gates that were overridden.

    `at` is ISO 8601.
    """

    kind: Literal["promote", "rollback"]
    from_ref: str
    to_ref: str
    at: str
    by: str
    reason: str
    failed: list[str]


class PromotionBoard(TypedDict):
    """``GET promotion``: what there is to decide about an alias; `revision` is another text as soon as anything is.

    `champion` is the version that holds the alias, `previous` where a rollback leads, `earlier` all that have held it;
    each may be "". `refusal` says why `you` may not promote, `no_rollback` why not roll back, `no_approval` why not
    approve; `actor` is how the audit log writes `you`. `named` is false where the server does not know one person from
    another. `waiting` are the effects of earlier acts that are not done yet. `unjudged` says why there are no verdicts.
    """

    api: int
    revision: str
    project: str
    model: str
    alias: str
    candidate: str
    champion: str
    previous: str
    earlier: list[str]
    you: str
    actor: str
    named: bool
    aliases: list[str]
    versions: list[PromotionVersion]
    numbers: list[ComparedNumber]
    verdicts: list[GateVerdict]
    unjudged: str
    approvals: list[GivenApproval]
    approvals_needed: int
    refusal: str
    no_rollback: str
    no_approval: str
    history: list[AliasMove]
    waiting: list[str]


class PromotionRevision(TypedDict):
    """``GET promotion/revision``: cheap to ask for every second."""

    revision: str


class PromoteRequest(TypedDict):
    """``POST promote``: a version such as ``delays/7``, and the alias to move to it.

    `held` is the version that the person saw holding the alias ("" for none): if another one does by now, nothing
    moves. `force` overrides failed gates, and needs a reason. `project` is the folder of the project that the person
    saw: where the notebook belongs to another one by now, nothing moves.
    """

    path: str
    project: NotRequired[str]
    ref: str
    alias: str
    reason: NotRequired[str]
    force: NotRequired[bool]
    held: NotRequired[str]


class RollbackRequest(TypedDict):
    """``POST rollback``: the alias to move back, to the one before or to `to`; `held` and `project` as above."""

    path: str
    project: NotRequired[str]
    model: str
    alias: str
    reason: NotRequired[str]
    to: NotRequired[str]
    held: NotRequired[str]


class ApproveRequest(TypedDict):
    """``POST approve``: a version, and the alias that it may then be promoted to; `project` as above."""

    path: str
    project: NotRequired[str]
    ref: str
    alias: str
    reason: NotRequired[str]
