"""A version, its lineage and what became of it become a graph: data and code above, stages, the version, its aliases.

Every node has an id, a kind, a title, facts by name, and the digest of its bytes where there are some; edges go from
what was needed to what was made of it and name what travelled. Nothing is left out of the graph. The picture folds
what is alike (many files) and leaves out a plain edge that others imply: who reads ``notebook -> split -> train`` need
not be shown ``notebook -> train``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mlnb.pipeline.picture import Node as Box
from mlnb.pipeline.picture import draw, shortened
from mlnb.registry.canonical import time_text

if TYPE_CHECKING:
    from mlnb.registry.gates import Verdict
    from mlnb.registry.lineage import Lineage, Step
    from mlnb.registry.tenure import Tenure
    from mlnb.registry.version import Version

KINDS = (
    "data",
    "parameters",
    "notebook",
    "commit",
    "modules",
    "environment",
    "stage",
    "test",
    "version",
    "file",
    "alias",
)
_ORIGINS = ("data", "parameters", "notebook", "commit", "modules", "environment")
_MOST_FILES = 4
_MOST_LINES = 5
_SHORT = 12
_PLACE = ("python", "system", "host", "kernel", "executor")


@dataclass(frozen=True, slots=True)
class Node:
    """One thing that a version was made of, the version, or what points to it.

    Attributes
    ----------
    id : str
        Unique in the graph: ``stage:train``.
    kind : str
        One of `KINDS`.
    title : str
        How people call it.
    facts : mapping of str to str
        What is known of it, in the order in which it is told.
    digest : str
        Of its bytes; empty where it has none of its own.
    """

    id: str
    kind: str
    title: str
    facts: Mapping[str, str] = field(default_factory=dict)
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Edge:
    """Something went from one node into another; `carries` names the values, () for the whole."""

    giver: str
    taker: str
    carries: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Graph:
    """The lineage of one version."""

    ref: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]

    def to_json(self) -> dict[str, object]:
        """Return a mapping that JSON can spell once its dataclasses are."""
        return {"ref": self.ref, "nodes": self.nodes, "edges": self.edges}

    def of(self, *kinds: str) -> tuple[Node, ...]:
        """Return the nodes of some kinds."""
        return tuple(node for node in self.nodes if node.kind in kinds)


def lineage_graph(
    version: Version, tenures: Sequence[Tenure] = (), verdicts: Sequence[Verdict] = (), packages: int = 0
) -> Graph:
    """Return the graph of a version.

    Parameters
    ----------
    version : Version
    tenures : sequence of Tenure
        When the version held an alias.
    verdicts : sequence of Verdict
        What its gates found.
    packages : int
        Distributions of its environment; 0 where the lock is not kept.
    """
    lineage = version.lineage
    nodes = [*_origins(lineage, packages), *map(_step_node, lineage.steps)]
    nodes += [_version_node(version, verdicts), *_files(version), *map(_alias_node, tenures)]
    edges = [*_code_edges(lineage), *_step_edges(lineage), *_made(version)]
    edges += [Edge(_id(version), f"file:{name}") for name in version.files]
    edges += [Edge(_id(version), _tenure_id(one)) for one in tenures]
    known = {node.id for node in nodes}
    return Graph(version.ref, tuple(nodes), tuple(one for one in edges if {one.giver, one.taker} <= known))


def picture(graph: Graph) -> str:
    """Return the graph as an SVG picture; a package's files are told in the version's box."""
    shown = [node for node in graph.nodes if node.kind != "file"]
    edges = {(one.giver, one.taker): one.carries for one in graph.edges}
    shown, edges = _folded(shown, edges)
    place = {node.id: at for at, node in enumerate(shown)}
    forward = {pair: names for pair, names in edges.items() if place.get(pair[0], math.inf) < place.get(pair[1], -1)}
    return draw([_box(node) for node in shown], _reduced(forward), f"Lineage of {graph.ref}")


def _origins(lineage: Lineage, packages: int) -> Iterator[Node]:
    for path, digest in lineage.data:
        yield Node(
            f"data:{path}", "data", path.rpartition("/")[2] or path, {"path": path, "digest": _short(digest)}, digest
        )
    if lineage.parameters:
        told = {name: repr(value) for name, value in lineage.parameters.items()}
        yield Node("parameters", "parameters", "parameters", told)
    if lineage.git_commit:
        facts = {"commit": lineage.git_commit}
        if lineage.git_dirty:
            kept = f"kept as {_short(lineage.git_diff)}" if lineage.git_diff else "none but the notebook's own"
            facts["local changes"] = kept
        yield Node("commit", "commit", f"commit {lineage.git_commit[:_SHORT]}", facts, lineage.git_diff)
    if lineage.notebook:
        facts = {"path": lineage.notebook, "digest": _short(lineage.notebook_digest)}
        title = lineage.notebook.rpartition("/")[2]
        yield Node("notebook", "notebook", title, facts, lineage.notebook_source or lineage.notebook_digest)
    if lineage.modules:
        told = {path: _short(digest) or "edited before it could be kept" for path, digest in lineage.modules}
        yield Node("modules", "modules", "modules", told)
    if lineage.environment:
        yield Node("environment", "environment", "environment", _environment(lineage, packages), lineage.environment)


def _environment(lineage: Lineage, packages: int) -> dict[str, str]:
    facts = {"distributions": str(packages)} if packages else {}
    facts |= {name: lineage.place[name] for name in _PLACE if name in lineage.place}
    return {**facts, "lock": _short(lineage.environment)}


def _step_node(step: Step) -> Node:
    facts = {"executed": step.started_at[:19].replace("T", " ")} if step.started_at else {}
    if step.run:
        facts["by run"] = step.run
    if step.seconds:
        facts["took"] = f"{step.seconds:.3g} s"
    if step.cases:
        passed = sum(state == "passed" for _, state in step.cases)
        facts["tests"] = f"{passed} of {len(step.cases)} passed"
    title = f"test {step.tested}" if step.tested else step.name
    return Node(f"stage:{step.name}", step.kind, title, {**facts, "key": _short(step.key)}, step.notebook)


def _version_node(version: Version, verdicts: Sequence[Verdict]) -> Node:
    facts = {"registered": f"{version.created_at:%Y-%m-%d %H:%M:%S}Z by {version.created_by}"}
    shown = [(name, value) for name, value in version.metrics.items() if "." not in name and not math.isnan(value)]
    if shown:
        facts["metrics"] = ", ".join(f"{name} {value:.4g}" for name, value in shown[:3])
    if verdicts:
        facts["gates"] = f"{sum(one.passed for one in verdicts)} of {len(verdicts)} passed"
    if "flips" in version.parity and "rows" in version.parity:
        facts["parity"] = f"{version.parity['flips']} flips in {version.parity['rows']} rows"
    inputs = version.signature.get("inputs")
    if isinstance(inputs, list):
        facts["signature"] = (
            f"{len(inputs)} {'column' if len(inputs) == 1 else 'columns'}, {version.signature.get('task')}"
        )
    facts["package"] = f"{version.exporter}, {len(version.files)} {'file' if len(version.files) == 1 else 'files'}"
    if version.key:
        facts["signed"] = f"by key {version.key}"
    return Node(_id(version), "version", version.ref, facts, version.content)


def _files(version: Version) -> Iterator[Node]:
    for name, digest in version.files.items():
        yield Node(f"file:{name}", "file", name, {"digest": _short(digest)}, digest)


def _alias_node(tenure: Tenure) -> Node:
    move = tenure.begun
    facts = {"since": f"{move.at:%Y-%m-%d %H:%M:%S}Z", "by": move.by}
    if move.forced:
        facts["forced"] = move.reason
    elif move.reason:
        facts["reason"] = move.reason
    if tenure.ended is not None:
        facts["until"] = f"{tenure.ended.at:%Y-%m-%d %H:%M:%S}Z"
    return Node(_tenure_id(tenure), "alias", move.alias, facts)


def _code_edges(lineage: Lineage) -> Iterator[Edge]:
    """Yield what all code comes from: the commit gave the notebook, notebook and environment gave each stage."""
    yield Edge("commit", "notebook")
    yield Edge("commit", "modules")
    for step in lineage.steps:
        yield Edge("notebook", f"stage:{step.name}")
        yield Edge("environment", f"stage:{step.name}")
        if step.modules:
            yield Edge("modules", f"stage:{step.name}")
    if not lineage.steps:  # of a version that an older mlnb has registered
        yield from (Edge(name, "notebook") for name in ("parameters", "environment"))
        yield from (Edge(f"data:{path}", "notebook") for path, _ in lineage.data)


def _step_edges(lineage: Lineage) -> Iterator[Edge]:
    for step in lineage.steps:
        name = f"stage:{step.name}"
        yield from (Edge(f"data:{path}", name) for path in step.reads)
        if step.parameters:
            yield Edge("parameters", name, step.parameters)
        givers = dict.fromkeys(giver for giver, _ in step.takes)
        for giver in givers:
            yield Edge(f"stage:{giver}", name, tuple(value for who, value in step.takes if who == giver))
        if step.tested and step.tested not in givers:
            yield Edge(f"stage:{step.tested}", name)


def _made(version: Version) -> Iterator[Edge]:
    """Yield what the version was made of: model, sample, metrics; without stages of its lineage, the notebook."""
    lineage, made = version.lineage, _id(version)
    carried: dict[str, list[str]] = {}
    for spelt in (lineage.model, lineage.sample):
        stage, _, variable = spelt.rpartition(".")
        if variable:
            carried.setdefault(stage, []).append(variable)
    taken = {stage for step in lineage.steps for stage, _ in step.takes} | {step.tested for step in lineage.steps}
    for step in lineage.steps:
        given = tuple(dict.fromkeys([*carried.get(step.name, ()), *_measured(step, version)]))
        if given or step.name not in taken:  # what nobody takes measured or tested: it is the version's evidence
            yield Edge(f"stage:{step.name}", made, given)
    if not lineage.steps:
        yield Edge("notebook", made)


def _measured(step: Step, version: Version) -> tuple[str, ...]:
    """Return the version's metrics that a step gave."""
    given = {name for name, _ in step.gives}
    return tuple(name for name in version.metrics if name in given)


def _folded(
    nodes: Sequence[Node], edges: Mapping[tuple[str, str], tuple[str, ...]]
) -> tuple[list[Node], dict[tuple[str, str], tuple[str, ...]]]:
    """Make one node of many files that the same stages read."""
    takers: dict[str, frozenset[str]] = {
        node.id: frozenset(taker for giver, taker in edges if giver == node.id) for node in nodes if node.kind == "data"
    }
    kept, found, moved = list[Node](), dict(edges), dict[str, str]()
    for group in dict.fromkeys(takers.values()):
        alike = [node for node in nodes if takers.get(node.id) == group]
        if len(alike) > _MOST_FILES:
            whole = Node(f"data:{alike[0].id}+", "data", f"{len(alike)} files", {one.title: "" for one in alike})
            kept.append(whole)
            moved |= {node.id: whole.id for node in alike}
    found = {(moved.get(giver, giver), taker): carries for (giver, taker), carries in found.items()}
    return [*kept, *(node for node in nodes if node.id not in moved)], found


def _reduced(edges: Mapping[tuple[str, str], tuple[str, ...]]) -> dict[tuple[str, str], tuple[str, ...]]:
    """Leave out plain edges that a longer way implies."""
    takers: dict[str, set[str]] = {}
    for giver, taker in edges:
        takers.setdefault(giver, set()).add(taker)
    return {
        (giver, taker): carries
        for (giver, taker), carries in edges.items()
        if carries or not any(taker in _reached(other, takers) for other in takers[giver] - {taker})
    }


def _reached(start: str, takers: Mapping[str, set[str]]) -> set[str]:
    found, waiting = set[str](), [start]
    while waiting:
        for taker in takers.get(waiting.pop(), ()):
            if taker not in found:
                found.add(taker)
                waiting.append(taker)
    return found


def _box(node: Node) -> Box:
    lines = [node.title, *_lines(node)]
    more = len(lines) - _MOST_LINES - 1
    if more > 1 and node.kind != "version":
        lines = [*lines[: _MOST_LINES + 1], f"and {more} more"]
    kind = "origin" if node.kind in _ORIGINS else node.kind
    state = {"test": "failed" if "tests" in node.facts and not _all_passed(node) else ""}.get(node.kind, "")
    return Box(node.id, kind, tuple(shortened(line) for line in lines), state)


def _lines(node: Node) -> Iterable[str]:
    if node.kind == "parameters":
        return [f"{name} = {value}" for name, value in node.facts.items()]
    if node.kind in ("data", "modules") and "digest" not in node.facts:
        return list(node.facts)
    hidden = {"stage": ("by run", "key"), "test": ("by run", "key", "executed", "took"), "commit": ("commit",)}
    said = [(name, value) for name, value in node.facts.items() if name not in hidden.get(node.kind, ())]
    if node.kind in ("data", "notebook"):
        return [value for name, value in said if name != "path" or value != node.title]
    return [f"{name} {value}" for name, value in said]


def _all_passed(node: Node) -> bool:
    passed, _, rest = node.facts["tests"].partition(" of ")
    return passed == rest.partition(" ")[0]


def _id(version: Version) -> str:
    return f"version:{version.ref}"


def _tenure_id(tenure: Tenure) -> str:
    return f"alias:{tenure.begun.alias} {time_text(tenure.begun.at)}"


def _short(digest: str) -> str:
    algorithm, sign, value = digest.partition(":")
    return value[:_SHORT] if sign and algorithm in ("sha256", "md5") else digest[:40]
