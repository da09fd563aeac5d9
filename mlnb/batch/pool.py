"""A scorer and pieces become answers in the order of the pieces, several at a time and never many in memory.

Threads, where the model works outside Python's lock, as onnxruntime does; else processes, each with the package loaded
once, because scikit-learn and hooks hold that lock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from itertools import chain, islice
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

from mlnb.batch.piece import Piece
from mlnb.batch.scoring import Answered, Manner, TableScorer
from mlnb.batch.worker import Worker

if TYPE_CHECKING:
    import pyarrow as pa


def answers(
    scorer: TableScorer,
    made_of: tuple[Path, Manner, Mapping[str, pa.DataType]],
    pieces: Iterable[Piece],
    jobs: int,
) -> Generator[Answered, None, None]:
    """Yield what becomes of each piece, in order.

    Parameters
    ----------
    scorer : TableScorer
        What scores here.
    made_of : tuple
        What it was made of, for other processes.
    jobs : int
        Pieces that are scored at the same time.

    Raises
    ------
    RunError
        If a process was killed.
    """
    left = iter(pieces)
    first = list(islice(left, jobs))
    jobs = len(first)
    if jobs < 2:
        yield from map(scorer.answer, chain(first, left))
        return
    with ThreadPoolExecutor(jobs, thread_name_prefix="mlnb-batch") as threads, ExitStack() as stack:
        do = scorer.answer if scorer.frees_threads else _by_workers(stack, made_of, jobs)
        yield from _in_order(threads, do, chain(first, left), 2 * jobs)


def _by_workers(
    stack: ExitStack, made_of: tuple[Path, Manner, Mapping[str, pa.DataType]], jobs: int
) -> Callable[[Piece], Answered]:
    """Start so many processes, which end with the stack, and return how a piece is given to one that is idle."""
    idle: SimpleQueue[Worker] = SimpleQueue()
    for _ in range(jobs):
        idle.put(stack.enter_context(Worker(*made_of)))

    def answer(piece: Piece) -> Answered:
        worker = idle.get()
        try:
            return worker.answer(piece)
        finally:
            idle.put(worker)

    return answer


def _in_order(
    threads: ThreadPoolExecutor, do: Callable[[Piece], Answered], pieces: Iterable[Piece], most: int
) -> Generator[Answered, None, None]:
    """Yield the answers in order, with so many under way; at an end, what has not begun is dropped."""
    waiting: deque[Future[Answered]] = deque()
    try:
        for piece in pieces:
            waiting.append(threads.submit(do, piece))
            if len(waiting) >= most:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
