from __future__ import annotations

import asyncio
import hmac
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlnb.errors import CorruptError, RequestError, ServiceError
from mlnb.service.canary import Event, abort, judge, measure, read_events
from mlnb.service.configuration import Configuration
from mlnb.service.counts import Arm, Counts, Tally, read_counts, sweep
from mlnb.service.experiments import Choice, Experiments
from mlnb.service.forms import OwnForm
from mlnb.service.log import Ids
from mlnb.service.router import Router, Routing, load_routing
from mlnb.service.routing_files import place, prune, read_aliases
from mlnb.service.traffic import (
    Canary,
    LiveGate,
    Traffic,
    caller_digest,
    place_of,
    slotted,
    traffic_from_json,
    traffic_to_json,
)

NOTHING = Routing("", 0, {}, "")
CALLERS = [f"caller {number}" for number in range(4000)]


def choices(traffic: Traffic, now: float = 0.0) -> list[int]:
    return [traffic.choose(caller, 1, now) for caller in CALLERS]


def test_a_caller_gets_the_same_version_in_every_process_and_the_shares_are_those_that_were_asked_for() -> None:
    traffic = Traffic("5e1f", slots=slotted({1: 0.7, 2: 0.2, 3: 0.1}))
    here = choices(traffic)
    code = (
        "import json, sys; from mlnb.service.traffic import Traffic, slotted\n"
        "traffic = Traffic('5e1f', slots=slotted({1: 0.7, 2: 0.2, 3: 0.1}))\n"
        "print([traffic.choose(f'caller {n}', 1, 0.0) for n in range(4000)])"
    )
    for seed in ("1", "2"):
        environ = {**os.environ, "PYTHONHASHSEED": seed}
        there = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
        assert json.loads(there.stdout) == here
    counted = Counter(here)
    for number, share in {1: 0.7, 2: 0.2, 3: 0.1}.items():  # five standard deviations of a binomial
        assert abs(counted[number] - share * 4000) < 5 * (share * (1 - share) * 4000) ** 0.5
    assert here != choices(replace(traffic, id="another experiment"))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(0, 20), min_size=4, max_size=4).filter(any), min_size=2, max_size=5))
def test_a_change_of_shares_moves_callers_only_out_of_what_shrinks_and_into_what_grows(
    history: list[list[int]],
) -> None:
    slots: tuple[tuple[float, int], ...] = ()
    shares_then: dict[int, float] = {}
    for weights in history:
        shares = {number: weight / sum(weights) for number, weight in enumerate(weights) if weight}
        after = slotted(shares, slots)
        one = Traffic("x", slots=after)
        assert one.shares(0, 0.0) == pytest.approx(shares, abs=1e-9)
        if slots:
            before = Traffic("x", slots=slots)
            for old, new in {(before.choose(c, 0, 0), one.choose(c, 0, 0)) for c in CALLERS[:500]}:
                if old != new:
                    assert shares.get(old, 0.0) < shares_then.get(old, 0.0)
                    assert shares.get(new, 0.0) > shares_then.get(new, 0.0)
        slots, shares_then = after, shares


def test_the_share_of_a_canary_is_a_function_of_its_schedule_and_the_time() -> None:
    canary = Canary(2, (0.05, 0.25, 1.0), 10.0, 1000.0)
    traffic = Traffic("5e1f", canary=canary)
    assert [canary.share(now) for now in (999.0, 1000.0, 1009.9, 1010.0, 1020.0, 9e9)] == [
        0.05,
        0.05,
        0.05,
        0.25,
        1.0,
        1.0,
    ]
    assert [canary.finished(now) for now in (1029.9, 1030.0)] == [False, True]
    steps = [choices(traffic, now) for now in (1000.0, 1010.0, 1020.0)]
    for before, after in pairwise(steps):
        assert all(new == 2 for old, new in zip(before, after, strict=True) if old == 2)
    assert [abs(step.count(2) / 4000 - share) < 0.02 for step, share in zip(steps, canary.steps, strict=True)] == [
        True
    ] * 3
    assert set(steps[2]) == {2}


def test_places_are_those_of_blake2b_as_the_standard_librarys_documentation_computes_them() -> None:
    import hashlib

    number = int(hashlib.blake2b(b"anna", digest_size=8, key=b"salt").hexdigest(), 16)
    assert place_of("salt", "anna") == pytest.approx(number / 2**64, abs=2**-52)


@pytest.mark.parametrize(
    ("tally", "words"),
    [
        (Tally(requests=3, errors=1), ""),
        (Tally(requests=3, errors=3), "3 of 3 requests failed, 100.00%: more than 2.00%"),
        (Tally(requests=100, errors=2), ""),
        (Tally(requests=100, errors=3), "3 of 100 requests failed, 3.00%"),
        (Tally(requests=1000, slow=10), ""),
        (Tally(requests=1000, slow=11, latency={40: 989, 70: 11}), "11 of 1000 requests took more than 50 ms: p99 is"),
        (Tally(requests=100, latency={40: 100}), "p50_ratio is 1.414, not <= 1.2"),
        (Tally(requests=99, latency={40: 99}), ""),
    ],
)
def test_a_canary_ends_where_its_limits_are_exceeded_whatever_else_should_follow(tally: Tally, words: str) -> None:
    canary = Canary(2, (1.0,), 10.0, 0.0, 0.02, 50.0, 100, (LiveGate("p50_ratio", "<=", 1.2),))
    base = Tally(requests=500, latency={38: 500})
    found = judge(canary, tally, base)
    assert words in found
    assert bool(found) == bool(words)


def test_a_percentile_of_the_counts_is_that_of_the_requests_within_a_fifth() -> None:
    tally, other = Tally(), Tally()
    seconds = [0.0001 * 1.05**number for number in range(200)]
    for number, one in enumerate(seconds):
        (tally if number % 2 else other).observe(200, one)
    tally.add(other)
    for percent in (50, 90, 99):
        true = sorted(seconds)[int(len(seconds) * percent / 100) - 1] * 1000
        assert true <= tally.latency_ms(percent) <= 1.2 * true
    assert measure(tally, Tally())["requests"] == 200.0


def test_counts_of_all_workers_are_added_and_those_of_an_experiment_that_is_over_are_swept(tmp_path: Path) -> None:
    for _ in range(2):
        counts = Counts(tmp_path)
        counts.write(counts.text())
        counts.of(Arm("new", 2)).observe(200, 0.001)
        counts.of(Arm("new", 2)).observe(422, 0.001)
        counts.of(Arm("new", 2)).observe(400, 0.001)  # not JSON: says nothing of the version
        counts.of(Arm("old", 1)).observe(500, 0.001)
        counts.write(counts.text())
    for name, text in (("torn", b'{"format": 1, "ar'), ("odd", b'{"format": 1, "arms": [{"requests": 1}]}')):
        (tmp_path / "counts" / f"{name}.json").write_bytes(text)
    assert read_counts(tmp_path, {"new"}) == {Arm("new", 2): Tally(4, 2, 0, 0, {39: 4})}
    sweep(tmp_path, {"new"})
    assert len(read_counts(tmp_path, {"old"})) == 1
    sweep(tmp_path, {"newer"})
    left = sorted((tmp_path / "counts").iterdir())
    assert len(left) == 2  # of a process that is there
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    for path in left:
        path.rename(path.with_name(f"{ended.pid}-{path.name.partition('-')[2]}"))
    sweep(tmp_path, {"newer"})
    assert list((tmp_path / "counts").iterdir()) == []


def test_a_canary_that_fails_while_nothing_can_be_written_answers_no_more(
    tmp_path: Path, packages: dict[int, Path], caplog: pytest.LogCaptureFixture
) -> None:
    canary = Canary(2, (1.0,), 60.0, 0.0, 0.02, min_requests=1)
    place(tmp_path, "delays", packages, {"production": 1}, {"production": Traffic("5e1f", canary=canary)})
    for folder in ("events", "counts"):
        (tmp_path / folder).write_bytes(b"")  # a file: what belongs below it cannot be written
    router = Router(tmp_path, tmp_path)
    router.load()
    experiments = Experiments(tmp_path, Ids(), list, Configuration(max_rows=10))

    def chosen() -> Choice:
        found = experiments.choose(router.routing, "", OwnForm(), (), b"", "request")
        assert found is not None
        return found

    async def fail_and_wait() -> None:
        for _ in range(3):
            with pytest.raises(RequestError), experiments.counted(chosen(), 0.0):
                raise RequestError("It failed.", "Ask another.", status=500)
        following = asyncio.create_task(experiments.follow(router))
        async with asyncio.timeout(20):
            while chosen().number != 1:
                await asyncio.sleep(0.01)
        following.cancel()

    assert chosen().number == 2
    asyncio.run(fail_and_wait())
    assert "3 of 3 requests failed" in caplog.text
    assert "cannot be written down yet" in caplog.text
    experiments.close()


def test_a_canary_is_ended_once_and_its_evidence_is_whole(tmp_path: Path) -> None:
    first = Event("5e1f", "delays", "production", 2, 1, "2026-11-23T09:00:00.000+00:00", "It failed.", {"errors": 3.0})
    assert abort(tmp_path, first)
    assert not abort(tmp_path, replace(first, reason="It failed again."))
    assert read_events(tmp_path) == (first,)
    assert [path.name for path in tmp_path.iterdir()] == ["events"]


def test_traffic_is_read_as_it_was_written(tmp_path: Path, packages: dict[int, Path]) -> None:
    canary = Canary(2, (0.05, 1.0), 60.0, 1.5, 0.02, min_requests=7, gates=(LiveGate("p99_ratio", "<=", 1.5),))
    traffic = {
        "production": Traffic("5e1f", "x-user", canary=canary, shadows=((2, 0.5),)),
        "staging": Traffic("77aa", "column:user", slots=slotted({1: 0.25, 2: 0.75})),
    }
    for one in traffic.values():
        assert traffic_from_json(json.loads(json.dumps(traffic_to_json(one)))) == one
    place(tmp_path, "delays", packages, {"production": 1, "staging": 1}, traffic)
    placed = read_aliases(tmp_path)
    assert placed is not None
    assert placed.traffic == traffic
    routing = load_routing(tmp_path, NOTHING)
    assert sorted(routing.loaded) == [1, 2]
    assert routing.traffic["staging"].routings[2].version_of("staging")[1].number == 2
    assert json.loads((tmp_path / "aliases.json").read_text())["format"] == 2


def test_a_routing_without_traffic_is_written_so_that_services_of_format_1_read_it_and_format_1_is_read(
    tmp_path: Path, packages: dict[int, Path]
) -> None:
    place(tmp_path, "delays", packages, {"production": 1})
    document = json.loads((tmp_path / "aliases.json").read_text())
    assert document["format"] == 1
    old = {key: document[key] for key in ("format", "model", "revision", "aliases", "code")}
    (tmp_path / "aliases.json").write_text(json.dumps(old))
    assert load_routing(tmp_path, NOTHING).version_of("")[1].number == 1
    placed = read_aliases(tmp_path)
    assert placed is not None
    assert (placed.traffic, placed.warm) == ({}, ())


@pytest.mark.parametrize("traffic", ['{"production": {}}', '{"production": {"id": "x", "slots": 3}}', "[]", "3"])
def test_malformed_traffic_is_refused(tmp_path: Path, packages: dict[int, Path], traffic: str) -> None:
    place(tmp_path, "delays", packages, {"production": 1})
    document = json.loads((tmp_path / "aliases.json").read_text())
    (tmp_path / "aliases.json").write_text(json.dumps({**document, "format": 2, "traffic": json.loads(traffic)}))
    with pytest.raises(ServiceError, match="cannot be read"):
        load_routing(tmp_path, NOTHING)
    with pytest.raises(CorruptError, match="cannot be read"):
        read_aliases(tmp_path)


def test_a_caller_whom_a_redacted_column_names_is_logged_with_a_key_or_not_at_all(
    tmp_path: Path, packages: dict[int, Path]
) -> None:
    traffic = Traffic("5e1f", sticky="column:origin", slots=slotted({1: 0.5, 2: 0.5}))
    place(tmp_path, "delays", packages, {"production": 1}, {"production": traffic})
    routing = load_routing(tmp_path, NOTHING)
    body = json.dumps({"rows": [{"age": 1, "wind": 2, "origin": "JFK"}]}).encode()

    def caller(**settings: str) -> str | None:
        experiments = Experiments(tmp_path, Ids(), lambda records: None, Configuration(**settings))
        chosen = experiments.choose(routing, "", OwnForm(), [], body, "request")
        experiments.close()
        assert chosen is not None
        return chosen.caller

    plain = caller(log_redact="age")
    assert plain == caller_digest("JFK")
    assert caller(log_redact="origin") is None
    keyed = hmac.new(b"k", f'"{plain}"'.encode(), "sha256").hexdigest()
    assert keyed.startswith(caller(log_redact="origin", log_redact_key="k") or "none")


def test_the_two_versions_that_were_live_last_stay_on_disk_and_in_memory_and_going_back_loads_nothing(
    tmp_path: Path, packages: dict[int, Path]
) -> None:
    many = {1: packages[1], 2: packages[2], 3: packages[1], 4: packages[2]}
    routing = NOTHING
    seen = {}
    for number in (1, 2, 3, 4):
        place(tmp_path, "delays", many, {"production": number})
        prune(tmp_path, {number})
        routing = load_routing(tmp_path, routing)
        seen[number] = routing.aliases["production"]
    assert routing.warm == (3, 2)
    assert sorted(path.name for path in (tmp_path / "versions").iterdir()) == ["2", "3", "4"]
    place(tmp_path, "delays", {}, {"production": 3})
    back = load_routing(tmp_path, routing)
    assert back.aliases["production"] is seen[3]
    assert back.warm == (4, 2)


def test_traffic_ends_where_its_alias_moves_and_stays_where_another_one_does(
    tmp_path: Path, packages: dict[int, Path]
) -> None:
    spread = {"production": Traffic("5e1f", slots=slotted({1: 0.5, 2: 0.5}))}
    place(tmp_path, "delays", packages, {"production": 1, "staging": 1}, spread)
    place(tmp_path, "delays", packages, {"production": 1, "staging": 2})
    placed = read_aliases(tmp_path)
    assert placed is not None
    assert placed.traffic == spread
    place(tmp_path, "delays", packages, {"production": 2, "staging": 2})
    placed = read_aliases(tmp_path)
    assert placed is not None
    assert (placed.traffic, placed.warm) == ({}, (1,))


def test_a_version_that_was_warm_and_is_gone_is_let_go_and_stops_nothing(
    tmp_path: Path, packages: dict[int, Path]
) -> None:
    place(tmp_path, "delays", packages, {"production": 1})
    place(tmp_path, "delays", packages, {"production": 2})
    shutil.rmtree(tmp_path / "versions" / "1")
    place(tmp_path, "delays", packages, {"production": 2, "staging": 2})
    placed = read_aliases(tmp_path)
    assert placed is not None
    assert placed.warm == ()
