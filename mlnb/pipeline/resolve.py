"""An outline becomes `Node` values whose names are resolved: which stage gives what each takes, or a refusal.

The latest giver above a cell gives a name, as it would in the notebook run from top to bottom; a setup cell between
counts as one. A test sees the names as its stage leaves them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mlnb.errors import PlanError
from mlnb.notebook.names import analyse_cells
from mlnb.notebook.namespace import ALWAYS_THERE
from mlnb.notebook.syntax import parse_cell
from mlnb.pipeline import refusals
from mlnb.pipeline.givers import Givers, Node, Write
from mlnb.pipeline.graph import Input
from mlnb.pipeline.ground import Ground, is_there
from mlnb.pipeline.outline import Outline
from mlnb.pipeline.setup import tree_of


@dataclass(frozen=True, slots=True)
class Demand:
    """A name that somebody needs.

    Attributes
    ----------
    where : str
        Who, for messages: "Stage `train` (cell 5, line 2)".
    cell : int
        Number of the cell that needs it.
    stage : str
        The stage or test that needs it, ``""`` for deploys.
    """

    name: str
    where: str
    cell: int
    stage: str = ""


class Resolver:
    """Resolve the names of all nodes.

    Attributes
    ----------
    nodes : mapping of str to Node
        Stages and tests by name, in notebook order.
    givers : Givers
        Who gives what.

    Raises
    ------
    PlanError
        If a name has no giver or two, or stages need each other.
    """

    def __init__(self, outline: Outline, ground: Ground) -> None:
        self.ground = ground
        self.nodes: dict[str, Node] = {}
        for draft in outline.drafts.values():
            trees = [tree_of(cell) for cell in draft.cells]
            called = "test_" if draft.tested else ""
            self.nodes[draft.name] = Node(draft, analyse_cells(trees, ground.known, called=called))
        self.givers = Givers(self.nodes.values(), ground.fixed)
        self._explored = self._exploration_names(outline)
        self._choices: list[tuple[Demand, Write, list[Write]]] = []
        self._refuse_stars()
        self._check_setup()
        for node in self.nodes.values():
            self._take_required(node)
        self._refuse_cycles()
        self._refuse_two_writers()
        for node in self.nodes.values():
            self._take_optional(node)
        self._check_functions()

    def giver(self, demand: Demand) -> Write:
        """Return the write that gives a name to somebody outside the stages, such as a deploy."""
        write = self._choose(demand, None)
        if write is None:
            raise self.missing(demand)
        rivals = self._rivals(write, self.givers.all(demand.name), demand.cell)
        self._refuse_rivals(demand, write, rivals)
        return write

    def ancestors(self, name: str) -> set[str]:
        """Return the nodes that must run before a node."""
        found: set[str] = set()
        left = [name]
        while left:
            for giver in self.nodes[left.pop()].upstream:
                if giver not in found:
                    found.add(giver)
                    left.append(giver)
        return found

    # what is taken

    def _take_required(self, node: Node) -> None:
        for after in (*node.draft.options.get("after", ()), node.draft.tested):
            if after:
                node.upstream.setdefault(after, "")
        declared = node.draft.options.get("inputs")
        if declared is not None:
            for name in declared:
                self._take(node, self._demand(node, name, node.draft.said["inputs"], 0))
        for cell, names in zip(node.draft.cells, node.names, strict=True):
            for name in names.inputs:
                if declared is None or is_there(name, self.ground):
                    self._take(node, self._demand(node, name, cell.number, names.lines.get(name, 0)))
            for name in names.carried if declared is None else ():
                self._take_carried(node, self._demand(node, name, cell.number, names.lines.get(name, 0)))

    def _take(self, node: Node, demand: Demand) -> None:
        write = self._choose(demand, node)
        if write is not None:
            self._connect(node, demand, write)
        elif demand.name in self.ground.parameters:
            node.parameters.add(demand.name)
        elif demand.name in self.ground.bound:
            self.ground.refuse_two_definitions(demand.name, node.name, node.draft.title, demand.cell)
        elif demand.name not in ALWAYS_THERE:
            raise self.missing(demand)

    def _take_carried(self, node: Node, demand: Demand) -> None:
        """Another stage may have bound, between two cells of this one, what the later cell reads."""
        writes = [write for write in self.givers.all(demand.name) if write.cell < demand.cell]
        if writes and writes[-1].stage != node.name and not writes[-1].text and not node.draft.tested:
            self._connect(node, demand, writes[-1])

    def _connect(self, node: Node, demand: Demand, write: Write) -> None:
        if write.text:
            node.imports.setdefault(demand.name, write.text)
            return
        if demand.name not in node.inputs:
            node.inputs[demand.name] = Input(demand.name, write.stage)
            node.upstream[write.stage] = node.upstream.get(write.stage) or demand.name
            self._choices.append((demand, write, self.givers.all(demand.name)))

    def _take_optional(self, node: Node) -> None:
        for cell, names in zip(node.draft.cells, node.names, strict=True):
            for name in (*names.optional, *names.shadows) if "inputs" not in node.draft.options else ():
                demand = self._demand(node, name, cell.number, names.lines.get(name, 0))
                write = self._choose(demand, node)
                if write is None:
                    if name in self.ground.parameters:
                        node.parameters.add(name)
                elif write.text:
                    node.imports.setdefault(name, write.text)
                elif name not in node.inputs and node.name not in {write.stage, *self.ancestors(write.stage)}:
                    node.inputs[name] = Input(name, write.stage)
                    node.upstream.setdefault(write.stage, name)

    def _choose(self, demand: Demand, node: Node | None) -> Write | None:
        """Return the write that gives the name, None where the ground does or nobody."""
        writes = self.givers.all(demand.name, but=node.name if node else "")
        tested = node.draft.tested if node else ""
        own = [write for write in writes if write.stage == tested]
        if own:
            return own[-1]
        above = [write for write in writes if write.cell < demand.cell]
        if tested:
            seen = [write for write in writes if write.cell < self.nodes[tested].last_cell]
            above = seen or (above if not is_there(demand.name, self.ground) else [])
        after = self._declared_ancestors(node) if node else frozenset()
        above = [write for write in above if write.stage in after] or above
        if not above:
            return None
        return above[-1] if above[-1].cell > self.ground.last_before(demand.name, demand.cell) else None

    def _declared_ancestors(self, node: Node) -> frozenset[str]:
        """Return the stages that marks put before a node; Kale hands values over along these only."""
        found: set[str] = set()
        left = [node.name]
        while left:
            for after in self.nodes[left.pop()].draft.options.get("after", ()):
                if after not in found:
                    found.add(after)
                    left.append(after)
        return frozenset(found)

    # what is refused

    def missing(self, demand: Demand) -> PlanError:
        """Return the refusal of a name that nobody gives, saying who nearly does."""
        name, where, cell, stage = demand.name, demand.where, demand.cell, demand.stage
        if name in self.givers.hidden:
            return refusals.not_declared(name, where, self.givers.hidden[name], cell=cell, stage=stage)
        if name in self._explored:
            return refusals.only_exploration(name, where, self._explored[name], cell=cell, stage=stage)
        below = self.givers.all(name, but=stage)
        if below:
            return refusals.only_below(name, where, below[0], cell=cell, stage=stage)
        for node in self.nodes.values():
            cells = [c.number for c, n in zip(node.draft.cells, node.names, strict=True) if name in n.outputs]
            if node.draft.tested and cells and node.name != stage:
                return refusals.only_tests(name, where, node.draft.tested, cells, cell=cell, stage=stage)
        known = {*self.givers.names, *self.ground.bound, *self.ground.parameters, *self._explored} - {name}
        return refusals.unknown_name(name, where, cell=cell, stage=stage, known=known)

    def _refuse_stars(self) -> None:
        for cell, names in zip(self.ground.cells, self.ground.names, strict=True):
            for line in names.stars:
                raise refusals.star_import(cell.number, line, "Setup", "")
        for node in self.nodes.values():
            for cell, names in zip(node.draft.cells, node.names, strict=True):
                for line in names.stars:
                    raise refusals.star_import(cell.number, line, node.draft.title, node.name)

    def _check_setup(self) -> None:
        for cell, name, line in self.ground.missing():
            if name in self.ground.parameters:
                continue
            demand = Demand(name, f"Setup ({_place(cell.number, line)})", cell.number)
            writes = self.givers.all(name)
            if writes:
                raise refusals.setup_needs_stage(name, demand.where, writes[0], cell=cell.number)
            raise self.missing(demand)

    def _refuse_cycles(self) -> None:
        done: set[str] = set()
        for start in self.nodes:
            path: list[str] = []
            self._follow(start, path, done)

    def _follow(self, name: str, path: list[str], done: set[str]) -> None:
        if name in path:
            raise refusals.cycle([self.nodes[step] for step in path[path.index(name) :]])
        if name in done:
            return
        path.append(name)
        for giver in self.nodes[name].upstream:
            self._follow(giver, path, done)
        path.pop()
        done.add(name)

    def _refuse_two_writers(self) -> None:
        for demand, write, writes in self._choices:
            self._refuse_rivals(demand, write, self._rivals(write, writes, demand.cell))

    def _rivals(self, write: Write, writes: Sequence[Write], cell: int) -> list[Write]:
        return [other for other in writes if other.stage != write.stage and other.cell < max(cell, write.cell)]

    def _refuse_rivals(self, demand: Demand, write: Write, rivals: Sequence[Write]) -> None:
        """Refuse a second writer that neither runs before the chosen one nor is left aside by a declared order."""
        if not rivals:
            return
        before = self.ancestors(write.stage)
        node = self.nodes.get(demand.stage)
        declared = self._declared_ancestors(node) if node else frozenset()
        tested = bool(node and node.draft.tested == write.stage)
        for rival in rivals:
            aside = tested or (write.stage in declared and rival.stage not in declared)
            if rival.stage not in before and not aside and not rival.text:
                first, second = sorted((rival, write), key=lambda found: found.cell)
                raise refusals.two_writers(
                    demand.name, demand.where, first, second, cell=demand.cell, stage=demand.stage
                )

    def _check_functions(self) -> None:
        """Refuse a function that is handed over without the globals it reads: it brings them along."""
        for node in self.nodes.values():
            for taken in node.inputs.values():
                giver = self.nodes[taken.giver]
                given = {*self.givers.by(giver.name), *giver.inputs, *giver.imports, *ALWAYS_THERE}
                for free in (free for names in giver.names for free in names.functions.get(taken.name, ())):
                    if free not in given and not is_there(free, self.ground):
                        raise refusals.function_needs(
                            taken.name, free, giver, node.draft.title, cell=node.first_cell, stage=node.name
                        )

    @staticmethod
    def _demand(node: Node, name: str, cell: int, line: int) -> Demand:
        what = f"The tests of `{node.draft.tested}`" if node.draft.tested else f"Stage `{node.name}`"
        return Demand(name, f"{what} ({_place(cell, line)})", cell, node.name)

    @staticmethod
    def _exploration_names(outline: Outline) -> Mapping[str, Sequence[int]]:
        found: dict[str, list[int]] = {}
        for cell in (*outline.exploration, *outline.skipped):
            for name in _bound_in(cell.source):
                found.setdefault(name, []).append(cell.number)
        return found


def _bound_in(source: str) -> Iterable[str]:
    try:
        return analyse_cells([parse_cell(source)])[0].outputs
    except (SyntaxError, ValueError):  # of a skipped cell, which may be anything
        return ()


def _place(cell: int, line: int) -> str:
    return f"cell {cell}, line {line}" if line else f"cell {cell}"
