from __future__ import annotations

from pathlib import Path

from mlnb.service.tail import follow, tail


def test_the_last_lines_are_those_that_were_asked_for(tmp_path: Path) -> None:
    log = tmp_path / "service.log"
    assert tail(log, 5) == ""
    log.write_text("".join(f"{number} {'x' * 900}\n" for number in range(9)))
    for count in (0, -1, 1, 3, 9, 20):
        found = [int(line.split()[0]) for line in tail(log, count).splitlines()]
        assert found == list(range(9))[9 - max(0, min(count, 9)) :]


def test_what_is_written_while_the_last_lines_are_shown_follows_them(tmp_path: Path) -> None:
    log = tmp_path / "service.log"
    log.write_text("first\n")
    lines = follow(log, 1)
    seen = [next(lines)]
    with log.open("a") as file:
        file.write("second\nthird\n")
    seen.append(next(lines))
    log.write_text("cut\n")
    assert [*seen, next(lines), next(lines)] == ["first", "second", "third", "cut"]
