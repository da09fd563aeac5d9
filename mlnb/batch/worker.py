"""Pieces become answers in a process of its own, for models and hooks that hold Python's lock.

``python -m mlnb.batch.worker`` reads pickles from its standard input: what a `TableScorer` is made of, then pieces;
it writes an `Answered` for each to its standard output. Both ends are this program. What hooks print goes to the
standard error. A worker ends when its input does, and is killed by whoever cannot wait.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, cast

from mlnb.batch.piece import Piece
from mlnb.batch.scoring import Answered, Manner, TableScorer
from mlnb.errors import MlnbError, RunError

if TYPE_CHECKING:
    import pyarrow as pa


class Worker:
    """A process that scores one piece at a time; a context manager that ends it.

    Parameters
    ----------
    folder : Path
        The package.
    manner : Manner
        How.
    kinds : mapping of str to pyarrow.DataType
        Types of the kept columns.
    """

    def __init__(self, folder: Path, manner: Manner, kinds: Mapping[str, pa.DataType]) -> None:
        command = [sys.executable, "-P", "-m", "mlnb.batch.worker"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._input = cast(IO[bytes], self._process.stdin)
        self._output = cast(IO[bytes], self._process.stdout)
        self._first: tuple[Path, Manner, dict[str, pa.DataType]] | None = (folder, manner, dict(kinds))

    def __enter__(self) -> Worker:
        """Return the worker itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the process, whatever it is at."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._input, self._output):
            try:
                pipe.close()
            except BrokenPipeError:
                continue

    def answer(self, piece: Piece) -> Answered:
        """Score a piece.

        Raises
        ------
        RunError
            If the process is gone.
        """
        try:
            if self._first is not None:
                pickle.dump(self._first, self._input)
                self._first = None
            pickle.dump(_packed(piece), self._input)
            self._input.flush()
            told = pickle.load(self._output)  # noqa: S301  # our own process, and only its answers
        except (OSError, EOFError, ValueError, pickle.UnpicklingError) as error:
            raise RunError(
                "A process that scored rows was killed.", "Look whether memory ran out, or score with --jobs 1."
            ) from error
        if isinstance(told, MlnbError):
            raise told
        return cast(Answered, told)


def _packed(piece: Piece) -> tuple[Piece, bytes | None]:
    """Return a piece as it travels: arrays in the format of Arrow, which holds a slice without what it is cut from."""
    import pyarrow as pa

    if any(isinstance(cells, list) for cells in piece.columns.values()):
        return piece, None
    batch = pa.RecordBatch.from_arrays(list(piece.columns.values()), list(piece.columns))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return replace(piece, columns={}), sink.getvalue().to_pybytes()


def _unpacked(piece: Piece, content: bytes | None) -> Piece:
    import pyarrow as pa

    if content is None:
        return piece
    batch = pa.ipc.open_stream(content).read_next_batch()
    return replace(piece, columns=dict(zip(batch.schema.names, batch.columns, strict=True)))


def _serve(source: IO[bytes], target: IO[bytes]) -> None:
    folder, manner, kinds = pickle.load(source)  # noqa: S301  # from the parent
    scorer = TableScorer(folder, manner, kinds)
    while True:
        try:
            piece, content = pickle.load(source)  # noqa: S301  # from the parent
        except EOFError:
            return
        try:
            told: object = scorer.answer(_unpacked(piece, content))
        except MlnbError as error:
            told = RunError(error.problem, error.remedy)  # those with more attributes do not unpickle by themselves
        pickle.dump(told, target)
        target.flush()


def main() -> None:
    """Serve the parent; Ctrl-C is the parent's to answer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    _serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
