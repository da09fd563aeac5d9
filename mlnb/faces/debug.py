"""A `Standpoint` becomes names in a live kernel: the person stands where a stage stood, and can go back.

Setup runs in the user's own namespace, so that its functions see what is bound there later. Every object that a name
loses is kept aside; `Debugging.back` gives it to its name again and takes away what was bound here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from mlnb.errors import StageError, UsageError

if TYPE_CHECKING:
    from mlnb.run.debug import FailedFrame, Standpoint
    from mlnb.store.files import FileStore

NAME = "mlnb_frame"
_RELOADS = re.compile(r"^\s*%(?:re)?load_ext\s+mlnb\b.*$", re.MULTILINE)
_SHELL = frozenset({"In", "Out", "exit", "quit", "get_ipython"})


class Shell(Protocol):
    """What we use of IPython's shell."""

    user_ns: dict[str, object]

    def run_cell(self, raw_cell: str, **how: bool) -> object:
        """Run a cell."""


@dataclass(frozen=True, slots=True)
class Entered:
    """What standing in a stage has changed in the namespace.

    Attributes
    ----------
    parameters, setup, inputs, frame : tuple of str
        Names that were bound, by where they come from.
    overwritten : Mapping[str, str]
        Variables of the user's that had another value, and how it differs; they are kept aside.
    """

    parameters: tuple[str, ...]
    setup: tuple[str, ...]
    inputs: tuple[str, ...]
    frame: tuple[str, ...]
    overwritten: Mapping[str, str]


class Frame(Mapping[str, object]):
    """The variables of a frame in which a stage failed: ``mlnb_frame["rows"]`` or ``mlnb_frame.rows``.

    Each is loaded when it is first asked for. `outer` is the frame that called this one, None for the outermost.
    """

    def __init__(self, frame: FailedFrame, store: FileStore, outer: Frame | None) -> None:
        self._frame = frame
        self._store = store
        self._loaded: dict[str, object] = {}
        self.outer = outer

    def __getitem__(self, name: str) -> object:
        from mlnb.store.codec import decode

        if name not in self._loaded:
            artifact = next((one for one in self._frame.artifacts if one.name == name), None)
            if artifact is None:
                raise KeyError(name)
            self._loaded[name] = decode(artifact, self._store)
        return self._loaded[name]

    def __getattr__(self, name: str) -> object:
        try:
            return self[name]
        except KeyError:
            left_out = self._frame.left_out.get(name)
            why = f"{name!r} was not kept: {left_out}" if left_out else f"the frame has no variable {name!r}"
            raise AttributeError(why) from None

    def __iter__(self) -> Iterator[str]:
        return (artifact.name for artifact in self._frame.artifacts)

    def __len__(self) -> int:
        return len(self._frame.artifacts)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self]

    def __repr__(self) -> str:
        lines = [f"<{self._frame.title}: {', '.join(self) or 'no variables'}"]
        lines += [f"   {name} was not kept: {why}" for name, why in self._frame.left_out.items()]
        return "\n".join(lines) + ">" + (f"\n called from {self.outer!r}" if self.outer else "")


class Debugging:
    """Where a person of this kernel stands, if anywhere."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._before: dict[str, object] | None = None
        self._bound: dict[str, object] = {}

    def enter(self, here: Standpoint, store: FileStore, *, frame: bool = False) -> Entered:
        """Bind what the stage saw, after leaving where the person stood before.

        Parameters
        ----------
        frame : bool, default False
            Bind the variables of the failing frames as well, the innermost one's last.

        Raises
        ------
        UsageError
            If no frame was kept.
        StageError
            If setup fails here; what was bound stays, so that one can look around.
        UntrustedError, CorruptError
            If a value may not or cannot be loaded; nothing is bound then.
        """
        from mlnb.store.codec import decode
        from mlnb.store.codecs.objects import prefer_definitions

        if frame and not here.frames:
            raise UsageError(
                f"No frame of stage {here.stage!r} of run {here.run} was kept: it is {here.state}.",
                "Stand at its beginning instead: leave out --frame.",
            )
        if self._before is not None:
            self.back()
        names = self._shell.user_ns
        self._before = before = dict(names)
        try:
            self._prepare(here)
            setup = self._changed(before)
            prefer_definitions(names)
            inputs = {artifact.name: decode(artifact, store) for _, artifact in here.inputs}
            framed = {one.name: decode(one, store) for level in here.frames for one in level.artifacts} if frame else {}
            names.update(inputs | framed)
            if here.frames:
                names[NAME] = _frames(here, store)
        except StageError:
            self._bound = {name: names[name] for name in self._changed(before)}
            raise
        except BaseException:
            self._bound = {name: names[name] for name in self._changed(before)}
            self.back()
            raise
        finally:
            prefer_definitions(None)
        self._bound = {name: names[name] for name in self._changed(before)}
        return Entered(
            parameters=tuple(name for name in here.parameters if name in setup and name not in inputs),
            setup=tuple(name for name in setup if name not in here.parameters and name not in inputs),
            inputs=tuple(inputs),
            frame=tuple(framed),
            overwritten=_overwritten(before, self._bound),
        )

    def back(self) -> tuple[str, ...]:
        """Give every name what it had before, take away what was bound, and return the names that got theirs back.

        Raises
        ------
        UsageError
            If this kernel stands nowhere.
        """
        if self._before is None:
            raise UsageError("This kernel stands in no stage.", "Go there: %mlnb runs debug RUN STAGE.")
        names, before = self._shell.user_ns, self._before
        returned = [name for name in self._bound if name in before]
        for name, value in self._bound.items():
            if name in before:
                names[name] = before[name]
            elif names.get(name) is value:
                del names[name]
        self._before, self._bound = None, {}
        return tuple(returned)

    def _prepare(self, here: Standpoint) -> None:
        """Run parameters and setup as the stage's kernel did."""
        last = max((at for at, cell in enumerate(here.before) if cell.role == "parameters"), default=-1)
        for at, cell in enumerate(here.before):
            result = self._shell.run_cell(_RELOADS.sub("", cell.source), store_history=False, silent=True)
            if not getattr(result, "success", False):
                raise StageError(
                    f"Setup cell {cell.cell} of stage {here.stage!r} fails here, too: see above.",
                    "Look around with %debug; %mlnb runs debug --back gives your variables back.",
                    stage=here.stage,
                    cell=cell.cell,
                )
            if at == last:
                self._shell.user_ns.update(here.parameters)

    def _changed(self, before: Mapping[str, object]) -> tuple[str, ...]:
        names = self._shell.user_ns
        return tuple(
            name
            for name, value in list(names.items())
            if not name.startswith("_") and name not in _SHELL and (name not in before or before[name] is not value)
        )


def entered_lines(here: Standpoint, entered: Entered, folder: str) -> Iterator[str]:
    """Yield what was bound, what it has displaced, and the code that failed with its line."""
    where = "where" if entered.frame else "before the first cell of"
    yield f"You stand {where} stage {here.stage} of run {here.run}{' failed' if entered.frame else _became(here)}."
    values = ", ".join(f"{name} = {here.parameters[name]!r}" for name in entered.parameters)
    givers = {artifact.name: giver for giver, artifact in here.inputs}
    inputs = ", ".join(f"{name} (from {givers[name]})" for name in entered.inputs)
    for what, told in (
        ("parameters", values),
        ("setup", ", ".join(entered.setup)),
        ("inputs", inputs),
        ("frame", ", ".join(entered.frame)),
    ):
        if told:
            yield f"  {what}: {told}"
    for name, how in entered.overwritten.items():
        yield f"  {name} was yours: {how}; it is kept aside"
    if here.folder != folder:
        yield f"  the stage worked in {here.folder}, this kernel in {folder}: %cd {here.folder}"
    yield from standpoint_lines(here, live=True, framed=bool(entered.frame))
    yield "%mlnb runs debug --back gives the namespace back as it was."


def terminal_lines(here: Standpoint) -> Iterator[str]:
    """Yield what the stage saw, where it failed, and how to stand there."""
    yield f"Stage {here.stage} of run {here.run}{_became(here)}."
    yield "  parameters: " + (", ".join(f"{name} = {value!r}" for name, value in here.parameters.items()) or "none")
    yield "  inputs: " + (", ".join(f"{one.name} (from {giver})" for giver, one in here.inputs) or "none")
    yield from standpoint_lines(here)
    words = f"%mlnb runs debug {here.run} {here.stage}"
    yield f"To stand there, in a notebook: {words}"
    yield f"  or in this terminal:         ipython --ext=mlnb -i -c '{words}'"


def standpoint_lines(here: Standpoint, *, live: bool = False, framed: bool = False) -> Iterator[str]:
    """Yield why a stage failed, its code with the failing line, and the frames that were kept."""
    if here.fault is not None:
        yield here.fault.problem
    yield from here.code()
    if not here.frames:
        return
    yield "Kept from the failing frames:"
    for frame in here.frames:
        names = ", ".join(artifact.name for artifact in frame.artifacts) or "nothing"
        yield f"  {frame.title}: {names}"
        yield from (f"    not {name}: {why}" for name, why in frame.left_out.items())
    if live:
        yield f"They are in `{NAME}`, as in `{NAME}.NAME`" + (
            "." if framed else f"; %mlnb runs debug {here.run} {here.stage} --frame binds them to their names."
        )


def _became(here: Standpoint) -> str:
    """Return how the stage ended, as a clause."""
    return {"done": ", which is done", "failed": ", which failed"}.get(here.state, f", which was {here.state}")


def _frames(here: Standpoint, store: FileStore) -> Frame:
    outer: Frame | None = None
    for frame in here.frames[:-1]:
        outer = Frame(frame, store, outer)
    return Frame(here.frames[-1], store, outer)


def _overwritten(before: Mapping[str, object], bound: Mapping[str, object]) -> dict[str, str]:
    from mlnb.run.apart import apart

    found = {name: apart(before[name], value) for name, value in bound.items() if name in before and name != NAME}
    return {name: how for name, how in found.items() if how}
