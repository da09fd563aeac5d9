"""Requests that wait and how long they waited become a limit: what is above it is refused at once, not answered late.

Carried into the service: the standard library and `mlnb.errors`. One `Admission` per worker, asked on its event loop.
Small requests are scored on the loop, so their queue is not ours: it lies in the kernel's sockets and in the tasks of
one turn of the loop. What can be counted is what has arrived whole and is not answered yet, and what can be measured is
how long each waited: from its arrival to its answer, less the time that it was scored. By Little's law a worker that
answers ``rate`` requests a second lets them wait for ``wait_s`` if ``rate * wait_s`` are under way: that is the limit,
found anew every tenth of a second in which the mean wait was too long, and raised where requests were refused for
nothing. Before there is any wait it is bounded by how long requests take to be scored. Those that a burst has brought
in all the same are refused when their turn comes, where they have waited five times as long as they should, or as long
as twice the least limit takes.

A caller's deadline (``X-Request-Timeout-Ms``) is kept as well: what is past it when its turn comes is not scored.

References
----------
J. D. C. Little, "A Proof for the Queuing Formula L = λW" (1961). K. Nichols, V. Jacobson, "Controlling Queue Delay"
(2012): the standing wait, not the length of the queue, tells overload.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import Any

from mlnb.errors import RequestError

#: Key of a request's scope under which `mlnb.service.connection` says when the request had arrived whole.
ARRIVED = "mlnb.arrived"
RETRY_AFTER_S = 1
_FIRST, _LEAST, _MOST = 256, 16, 4096
_WINDOW_S = 0.1
_WINDOW_REQUESTS = 8
_KEPT = 0.7  # of the earlier windows' counts: answers come in bursts, as they are committed
_GROWTH, _SHRINKING = 1.5, 0.7
_PATIENCE = 5
_AT_ONCE = 4  # as many may be scored at the same time, at the best: there are four threads


class Admission:
    """How many requests a worker takes on.

    Parameters
    ----------
    queue : int
        Requests that may be under way; 0 finds the number.
    wait_s : float
        Seconds that a request may wait for its turn; only used where `queue` is 0.
    answer_s : float
        Longest deadline that a caller may ask for.
    clock : callable
        Seconds, as `time.perf_counter`.

    Attributes
    ----------
    under_way : int
        Requests that have arrived whole and are not answered.
    limit : int
        As many may be under way.
    shed : int
        Requests refused because of it.
    late : int
        Requests not scored because their deadline had passed.
    ended : dict of int to int
        Connections ended because of what they sent, or did not send, by the status that was told.
    """

    __slots__ = (
        "_answer_s",
        "_answered",
        "_clock",
        "_fixed",
        "_patience_s",
        "_refused",
        "_scored_s",
        "_spans",
        "_started",
        "_total",
        "_wait_s",
        "_waited",
        "ended",
        "late",
        "limit",
        "shed",
        "under_way",
    )

    def __init__(self, queue: int, wait_s: float, answer_s: float, clock: Callable[[], float] = perf_counter) -> None:
        self.under_way = 0
        self.limit = queue or _FIRST
        self.shed = self.late = 0
        self.ended: dict[int, int] = {}
        self._fixed = bool(queue)
        self._wait_s = wait_s
        self._answer_s = answer_s
        self._clock = clock
        self._started = clock()
        self._answered = self._refused = 0
        self._waited = self._total = self._spans = self._scored_s = 0.0
        self._patience_s = math.inf

    @property
    def full(self) -> bool:
        """Whether one request more is too many."""
        return self.under_way >= self.limit

    def arrive(self, scope: MutableMapping[str, Any]) -> float:
        """Return when the request of a scope had arrived whole; where its host does not say, it arrives and counts now.

        Raises
        ------
        RequestError
            503 where it is one too many.
        """
        if ARRIVED not in scope:
            if self.full:
                raise self.refuse()
            scope[ARRIVED] = self._clock()
            self.enter()
        return float(scope[ARRIVED])

    def enter(self) -> None:
        """Count a request that has arrived whole."""
        self.under_way += 1

    def refuse(self) -> RequestError:
        """Count a request that is too many, and return what it is told."""
        self.shed += 1
        self._refused += 1
        return overload()

    def begin(self, arrived: float, deadline: float) -> float:
        """Say that a request's turn has come, in the thread that scores it; return the time, for `scored`.

        Raises
        ------
        RequestError
            503 where its `deadline` has passed, or it has waited for too long.
        """
        now = self._clock()
        if now - arrived > self._patience_s:
            self._answered -= 1  # which `leave` will add: it was not answered
            self.shed += 1
            raise overload()
        if now > deadline:
            self.late += 1
            raise RequestError(
                f"The request's deadline had passed {(now - deadline) * 1000:.0f} ms before its turn came; "
                "it was not scored.",
                "Send it again later, or with a larger X-Request-Timeout-Ms.",
                status=503,
                retry_after_s=RETRY_AFTER_S,
            )
        return now

    def scored(self, began: float) -> None:
        """Say that a request was scored, which was no waiting."""
        self.charge(self._clock() - began)

    def charge(self, took_s: float) -> None:
        """Say for how many seconds requests were scored, one or together, which was no waiting."""
        self._scored_s += took_s
        self._waited -= took_s

    @contextmanager
    def apart(self, scope: MutableMapping[str, Any]) -> Iterator[None]:
        """Count the request of a scope in a ``with`` block, and not what it took: it asks for no prediction."""
        counted = scope.pop(ARRIVED, None) is not None
        try:
            yield
        finally:
            self.under_way -= counted

    def leave(self, arrived: float) -> None:
        """Count a request that has been answered, or given up."""
        now = self._clock()
        self.under_way -= 1
        self._answered += 1
        self._waited += now - arrived
        if self._answered >= _WINDOW_REQUESTS and now - self._started >= _WINDOW_S:
            self._adapt(now)
            self._started = now
            self._answered = self._refused = 0
            self._waited = self._scored_s = 0.0

    def deadline(self, headers: Sequence[tuple[bytes, bytes]], arrived: float) -> float:
        """Return when a request must have been answered, on the clock of `arrived`.

        Raises
        ------
        RequestError
            400 for an ``X-Request-Timeout-Ms`` that is no positive whole number.
        """
        for name, value in headers:
            if name == b"x-request-timeout-ms":
                if not value.isdigit() or len(value) > 9 or not int(value):
                    raise RequestError(
                        "X-Request-Timeout-Ms is not a positive whole number of milliseconds.",
                        "Correct it, or leave it away.",
                        status=400,
                    )
                return arrived + min(int(value) / 1000, self._answer_s)
        return arrived + self._answer_s

    def _adapt(self, now: float) -> None:
        mean, scored = self._waited / self._answered, self._scored_s / self._answered
        self._total = self._total * _KEPT + self._answered
        self._spans = self._spans * _KEPT + now - self._started
        if self._fixed:
            return
        self._patience_s = max(_PATIENCE * self._wait_s, 2 * _LEAST * scored)
        most = min(max(int(_AT_ONCE * self._wait_s / scored), _LEAST), _MOST) if scored > 0 else _MOST
        if mean > self._wait_s:
            found = int(max(self._total / self._spans * self._wait_s, self.limit * _SHRINKING))
            self.limit = min(max(found, _LEAST), self.limit)
        elif mean < self._wait_s / 2 and (self._refused or self.limit < _FIRST):
            self.limit = int(self.limit * _GROWTH) + 1
        self.limit = min(self.limit, most)


def overload() -> RequestError:
    """Return what a request is told that is too many."""
    return RequestError(
        "The service is asked for more than it can answer.",
        f"Send the request again in {RETRY_AFTER_S} s, or to another replica.",
        status=503,
        retry_after_s=RETRY_AFTER_S,
    )
