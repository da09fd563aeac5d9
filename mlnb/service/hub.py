"""What workers ask of each other becomes answers: each is asked in turn, and who asked is told all of it."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from mlnb.service.footprint import footprint
from mlnb.service.member import DRAINING, READY, STARTING, Member
from mlnb.service.metrics import Sums, added
from mlnb.service.wire import Said

_ANSWER_S = 2.0


@dataclass(slots=True)
class _Question:
    """What one worker has asked; `open` are those that have not answered."""

    asker: Member
    number: object
    what: str
    due: float
    open: set[int]
    answers: dict[int, Said] = field(default_factory=dict)


class Hub:
    """The supervisor's knowledge of its workers.

    Parameters
    ----------
    members : Mapping of int to Member
        The workers by their process; the supervisor changes it.

    Attributes
    ----------
    restarts : int
        Workers started again after they had ended by themselves.
    reloads : int
        Reloads that were asked for.
    reloading : bool
        Whether one goes on.
    problem : str
        Why the last one was given up.
    failures : int
        Workers that have ended soon, one after another.
    """

    def __init__(self, members: Mapping[int, Member]) -> None:
        self._members = members
        self._questions: dict[int, _Question] = {}
        self._number = 0
        self._departed = Sums()
        self._started = time.time()
        self.wanted = 1
        self.restarts = 0
        self.reloads = 0
        self.reloading = False
        self.problem = ""
        self.failures = 0

    def take(self, member: Member, message: Said) -> None:
        """Heed what a worker says."""
        member.heard = time.monotonic()
        if "failed" in message:
            member.failure = str(message["failed"])
        elif "leaving" in message:
            member.totals = _totals(message["leaving"])
        elif "ask" in message:
            self._pass_on(member, message)
        elif "of" in message:
            if message.get("what") == "metrics":
                member.totals = _totals(message["of"])
            question = self._questions.get(_integer(message.get("number")))
            if question is not None:
                question.answers[member.pid] = message
                question.open.discard(member.pid)
        self.settle(time.monotonic())

    def beat(self) -> None:
        """Ask all for their counters, so that they are known where one is killed, and that it still answers."""
        for member in self._members.values():
            if member.connected and member.state != STARTING:
                member.wire.send({"report": "metrics", "number": 0})

    def bury(self, member: Member) -> None:
        """Keep what a worker that has ended had counted."""
        self._departed = added([self._departed, Sums(member.totals)])
        for question in self._questions.values():
            question.open.discard(member.pid)

    def settle(self, now: float) -> None:
        """Tell those who have asked, where all have answered or the time is over."""
        for number, question in list(self._questions.items()):
            if not question.open or now >= question.due:
                del self._questions[number]
                if question.asker.connected:
                    question.asker.wire.send(self._told(question))

    def next_due(self) -> float:
        """Return when the next question must be answered; 0 where none is open."""
        return min((question.due for question in self._questions.values()), default=0.0)

    def _pass_on(self, asker: Member, message: Said) -> None:
        self._number += 1
        asked = {pid: one for pid, one in self._members.items() if one.connected and one.state != STARTING}
        due = time.monotonic() + _ANSWER_S
        self._questions[self._number] = _Question(asker, message["ask"], str(message["what"]), due, set(asked))
        for one in asked.values():
            one.wire.send({"report": message["what"], "number": self._number})

    def _told(self, question: _Question) -> Said:
        reports = []
        for pid, member in self._members.items():
            state = "silent" if pid in question.open else member.state
            answer = question.answers.get(pid, {})
            reports.append({"pid": pid, "state": state, "of": answer.get("of")})
        about = self._samples() if question.what == "metrics" else self._about()
        return {"number": question.number, "told": reports, "supervisor": about}

    def _about(self) -> Said:
        return {
            "pid": os.getpid(),
            "wanted": self.wanted,
            "restarts": self.restarts,
            "reloads": self.reloads,
            "reloading": self.reloading,
            "problem": self.problem,
        }

    def _samples(self) -> Said:
        states = Counter(member.state for member in self._members.values())
        gauges = {f'mlnb_workers{{state="{state}"}}': states[state] for state in (STARTING, READY, DRAINING)}
        fixed = {"mlnb_workers_wanted": self.wanted, "process_start_time_seconds": round(self._started, 3)}
        own = footprint()
        summed = added([self._departed, own, Sums({"mlnb_worker_restarts_total": self.restarts})])
        return {"totals": dict(summed.totals), "gauges": {**own.gauges, **gauges, **fixed}}


def _totals(value: object) -> dict[str, float]:
    totals = value.get("totals") if isinstance(value, dict) else None
    return dict(totals) if isinstance(totals, dict) else {}


def _integer(value: object) -> int:
    return value if isinstance(value, int) else 0
