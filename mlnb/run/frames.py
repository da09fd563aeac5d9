"""An exception in a stage's kernel becomes the user's variables where it was raised, kept beside the run.

They are listed in ``handoff/<stage>/frames.json``, format 1. Kept are the frames of the notebook's cells and of the
project's own modules, the innermost ones, each variable by the same codecs as what stages hand over, up to
`BUDGET_BYTES` for all. Secrets are left out, by name and by value; what cannot be kept is named with the reason.
Nothing here may disturb the report of the exception itself.
"""

from __future__ import annotations

import io
import re
import sys
import sysconfig
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType, ModuleType, TracebackType

from mlnb.errors import MlnbError
from mlnb.store.artifact import Artifact
from mlnb.store.codec import Taken, changed, encode, type_name
from mlnb.store.files import FileStore
from mlnb.store.manifest import Fields, read_json, write_json
from mlnb.store.redaction import KNOWN

FORMAT = 1
FILE = "frames.json"
BUDGET_BYTES = 64 << 20
BUDGET_S = 10.0
_FRAMES = 10
_SECRET = re.compile(
    r"(^|_)(password|passwd|pwd|passphrase|secret|token|api_?key|credentials?|private_?key)s?$", re.IGNORECASE
)
_SHELL = frozenset({"In", "Out", "exit", "quit", "get_ipython", "open"})


@dataclass(frozen=True, slots=True)
class KeptFrame:
    """One frame as it stood when the exception was raised.

    Attributes
    ----------
    function : str
        Its name, ``<module>`` for a cell itself.
    file : str
        The file that its code names: a path, or ``<mlnb-cell-...>`` for a cell.
    line : int
        1-based line in that file.
    artifacts : tuple of Artifact
        Its variables; of a cell itself, those that the stage has bound or changed.
    left_out : Mapping[str, str]
        Variables that were not kept, and why.
    """

    function: str
    file: str
    line: int
    artifacts: tuple[Artifact, ...]
    left_out: Mapping[str, str]

    @classmethod
    def from_json(cls, fields: Fields) -> KeptFrame:
        """Read it from a JSON object."""
        return cls(
            function=fields.text("function"),
            file=fields.text("file"),
            line=fields.integer("line"),
            artifacts=tuple(Artifact.from_json(one) for one in fields.many("artifacts")),
            left_out={name: str(reason) for name, reason in fields.values("left_out").items()},
        )


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a stage's kernel keeps frames, and what was there before the stage's own cells."""

    folder: Path
    store: FileStore
    before: Mapping[str, object]
    taken: Mapping[str, Taken]
    first: bool


_places: list[_Place] = []


def stand(folder: Path, store: FileStore, taken: Mapping[str, Taken], *, first: bool = False) -> None:
    """Remember what this kernel's stage begins with; called once, when it has taken its inputs.

    Parameters
    ----------
    first : bool, default False
        Keep the first exception (a test goes on behind it), not the last one (which has ended a stage).
    """
    _places[:] = [_Place(folder, store, dict(sys.modules["__main__"].__dict__), taken, first)]


def keep(error: BaseException | None) -> None:
    """Keep the frames of an exception of the user's code, instead of those of an earlier one of its stage."""
    if not _places or not isinstance(error, Exception):
        return
    place = _places[0]
    if place.first:
        _places.clear()
    try:
        _keep(place, error)
    except Exception:  # noqa: BLE001  # the user's exception is what counts: nothing may come in its way
        return


def read_frames(folder: Path) -> tuple[KeptFrame, ...]:
    """Return the frames that a stage left in its ``handoff`` folder, outermost first; none where it left none.

    Raises
    ------
    NewerFormatError
        If a newer mlnb wrote them.
    """
    try:
        fields = read_json(folder / FILE, FORMAT)
    except FileNotFoundError:
        return ()
    return tuple(KeptFrame.from_json(one) for one in fields.many("frames"))


def _keep(place: _Place, error: Exception) -> None:
    keeper = _Keeper(place)
    frames = [(frame, line) for frame, line in _frames(error.__traceback__) if _is_users(frame, place)]
    kept = [keeper.keep(frame, line) for frame, line in reversed(frames[:1] + frames[1:][-_FRAMES:])]
    write_json(place.folder / FILE, {"format": FORMAT, "frames": [asdict(frame) for frame in reversed(kept)]})


class _Keeper:
    """Keeps frames, the innermost first, as long as there is room and time."""

    def __init__(self, place: _Place) -> None:
        self._place = place
        self._room = BUDGET_BYTES
        self._until = time.monotonic() + BUDGET_S

    def keep(self, frame: FrameType, line: int) -> KeptFrame:
        artifacts, left_out = [], {}
        for name, value in self._variables(frame):
            reason = self._refusal(name, value)
            if not reason:
                try:
                    artifacts.append(encode(name, value, self._place.store, f"frame:{frame.f_code.co_name}"))
                except MlnbError:
                    reason = f"a value of type {type_name(value)} cannot be stored"
            if reason:
                left_out[name] = reason
        return KeptFrame(frame.f_code.co_name, frame.f_code.co_filename, line, tuple(artifacts), left_out)

    def _variables(self, frame: FrameType) -> Iterator[tuple[str, object]]:
        own = frame.f_locals is not frame.f_globals
        for name, value in list(frame.f_locals.items()):
            shown = own or (not name.startswith("_") and name not in _SHELL)
            if (
                shown
                and name.isidentifier()
                and not isinstance(value, ModuleType)
                and (own or self._is_new(name, value))
            ):
                yield name, value

    def _is_new(self, name: str, value: object) -> bool:
        place = self._place
        taken = place.taken.get(name)
        if taken is not None and taken.value() is value:
            return taken.artifact.size_bytes <= self._room and changed(taken, place.store)
        return name not in place.before or place.before[name] is not value

    def _refusal(self, name: str, value: object) -> str:
        """Return why a variable is not kept, ``""`` where it may be; takes its size off the room that is left."""
        if _SECRET.search(name) and isinstance(value, str | bytes):
            return "its name says that it is a secret"
        if time.monotonic() > self._until:
            return "there was no time left"
        measured = _Measured(self._room)
        try:
            measured.dump(value)
        except _TooLargeError:
            return f"it is larger than the room of {BUDGET_BYTES >> 20} MiB that was left"
        except Exception:  # noqa: BLE001  # foreign objects raise what they like when they are pickled
            return f"a value of type {type_name(value)} cannot be stored"
        if measured.secret:
            return f"it holds the secret {measured.secret!r}"
        self._room -= measured.size_bytes
        return ""


class _TooLargeError(Exception):
    """There is no room for a value."""


class _Measured(io.RawIOBase):
    """A file into which a value is pickled, to know its size and what it holds; it keeps nothing without need."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.size_bytes = 0
        self._room = room
        self._content = bytearray()

    def dump(self, value: object) -> None:
        """Pickle `value`. Raises `_TooLargeError` as soon as it is larger than the room."""
        import cloudpickle

        cloudpickle.dump(value, self, protocol=5)

    @property
    def secret(self) -> str:
        """The name of a secret that the value holds, ``""`` for none."""
        return KNOWN.held_by(bytes(self._content)) if KNOWN else ""

    def writable(self) -> bool:
        """Say yes."""
        return True

    def write(self, content: object, /) -> int:
        """Take a piece."""
        view = memoryview(content)  # type: ignore[arg-type]  # whatever a pickler writes is a buffer
        self.size_bytes += view.nbytes
        if self.size_bytes > self._room:
            raise _TooLargeError
        if KNOWN:
            self._content += view
        return view.nbytes


def _frames(trace: TracebackType | None) -> Iterator[tuple[FrameType, int]]:
    while trace is not None:
        yield trace.tb_frame, trace.tb_lineno
        trace = trace.tb_next


def _is_users(frame: FrameType, place: _Place) -> bool:
    """Say whether a frame is of a cell, or of a module of the project."""
    if frame.f_globals is sys.modules["__main__"].__dict__:
        return True
    file = Path(frame.f_code.co_filename)
    if not file.is_absolute() or not file.is_file() or "site-packages" in file.parts:
        return False
    root = next((above.parent for above in place.folder.parents if above.name == ".mlnb"), None)
    foreign = [sysconfig.get_path("stdlib"), str(Path(__file__).parent.parent)]
    return root is not None and file.is_relative_to(root) and not any(file.is_relative_to(one) for one in foreign)
