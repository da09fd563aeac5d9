from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from mlnb.run.fault import case_cells, cases_of, fault_of, fault_of_cases
from mlnb.run.kernels.job import Execution, Job
from mlnb.run.kernels.open import open_kernels
from mlnb.run.record import CaseRecord
from mlnb.run.spec import CaseCell, Result
from mlnb.settings import Settings
from mlnb.store.folder import StateFolder

# (source, first line of the notebook's cell, what the case must say); cell numbers count from 11
FAILING = [
    ("x = 1\nassert x == 2, 'not two'", 2, "AssertionError: not two (line 3)"),
    ("x = 1\n\nx = = 2", 1, "SyntaxError: invalid syntax (line 3)"),
    ("helper(0)", 1, "ZeroDivisionError: division by zero (line 2)"),  # in the setup cell
    ("%%time\nx = 1\nraise KeyError('k')", 1, "KeyError: 'k' (line 3)"),
    ("class Own(Exception):\n    pass\n\nraise Own('[3], line 99')", 4, "Own: [3], line 99 (line 7)"),
    ("import json\njson.loads('{')", 2, "JSONDecodeError: Expecting property name enclosed in double quotes"),
    ("try:\n    1 / 0\nexcept ZeroDivisionError as error:\n    raise ValueError('second') from error", 1, "(line 4)"),
    ("for n in range(3):\n    print(n)\n\nassert n == 3", 1, "AssertionError (line 4)"),
]


@pytest.fixture(scope="module")
def executed(
    tmp_path_factory: pytest.TempPathFactory,
    cell: Callable[..., dict[str, object]],
    notebook: Callable[..., dict[str, object]],
) -> Execution:
    """One kernel for all of them: the cells of a test go on after an exception."""
    path = tmp_path_factory.mktemp("fault") / "stage.ipynb"
    cells = [cell("def helper(n):\n    return 1 / n", 2, "setup")]
    for number, (source, first_line, _) in enumerate(FAILING, 11):
        cells.append(cell(source, number, "cells", first_line, "raises-exception"))
    cells.append(cell("assert helper(1) == 1", 30, "cells"))
    cells.append(cell("%no_such_magic", 31, "cells"))
    path.write_text(json.dumps(notebook(cells)))
    with open_kernels("spawn", StateFolder.open(path.parent), Settings()) as kernels:
        return kernels.execute(Job(path, path.parent, {}), lambda number: None)


def test_a_case_names_exception_and_line_of_the_users_cell(executed: Execution) -> None:
    cases = {case.cell: case for case in cases_of(executed, None)}
    for number, (source, _, words) in enumerate(FAILING, 11):
        assert cases[number].state == "failed", source
        assert words in cases[number].message, source
        assert "\x1b" not in cases[number].message
    assert cases[30] == CaseRecord("cell 30", 30, "passed")


def test_a_stage_fails_with_the_first_exception_and_its_innermost_place(executed: Execution) -> None:
    fault = fault_of("train", _untagged(executed), None)
    assert fault is not None
    assert (fault.cell, fault.line, fault.ename, fault.evalue) == (11, 3, "AssertionError", "not two")
    assert fault.problem == "Stage 'train' failed in cell 11, line 3: AssertionError: not two."
    assert "assert x == 2" in fault.traceback
    assert "\x1b" not in fault.traceback


def test_a_cell_of_a_stage_that_is_tagged_so_may_raise(executed: Execution) -> None:
    assert fault_of("train", executed, Result()) is None
    assert fault_of("train", _untagged(executed), Result()) is not None


def _untagged(executed: Execution) -> Execution:
    """Return the same execution as if no cell had been allowed to raise."""
    content = json.loads(json.dumps(executed.notebook).replace('"raises-exception"', '"other"'))
    return Execution(content, executed.last, executed.crash)


def test_a_magic_that_does_not_exist_is_told_although_ipython_only_prints_it(executed: Execution) -> None:
    fault = fault_of("train", executed, None, test=True)
    assert fault is not None
    assert (fault.cell, fault.ename) == (31, "UsageError")
    assert fault.problem == "Stage 'train' failed in cell 31: Line magic function `%no_such_magic` not found."


def test_what_the_kernel_refused_to_hand_over_is_told_in_its_words(executed: Execution) -> None:
    fault = fault_of("train", executed, Result(ename="HandoffError", problem="It cannot.", remedy="Do not."))
    assert fault is not None
    assert (fault.ename, fault.problem, fault.remedy) == ("HandoffError", "It cannot.", "Do not.")


def test_the_functions_of_a_test_are_found_in_its_cells_only(cell: Callable[..., dict[str, object]]) -> None:
    cells = [
        cell("def test_setup(): ...", 1, "setup"),
        cell(
            "%time x = 1\ndef test_a(): ...\n@mark\ndef test_b(): ...\ndef helper():\n    def test_c(): ...",
            5,
            "cells",
            2,
        ),
        cell("assert True", 6),
        cell("run_tests()", 0, "give"),
    ]
    assert case_cells({"cells": cells}) == (CaseCell(5, 2, ("test_a", "test_b")), CaseCell(6, 1, ()))


def test_a_failed_test_tells_how_many_cases_and_the_first() -> None:
    cases = [
        CaseRecord("cell 4", 4, "passed"),
        CaseRecord("test_b", 5, "failed", "AssertionError"),
        CaseRecord("test_c", 5, "failed", "ValueError: x"),
    ]
    fault = fault_of_cases("test-train", cases)
    assert fault is not None
    assert fault.problem == "2 of 3 cases of 'test-train' failed, the first in test_b: AssertionError."
    assert fault_of_cases("test-train", cases[:1]) is None


def test_nothing_is_wrong_with_a_stage_that_answered(cell: Callable[..., dict[str, object]]) -> None:
    execution = Execution({"cells": [cell("x = 1", 1)]}, 0)
    assert fault_of("train", execution, Result()) is None
    assert fault_of("train", execution, None) is not None  # it never came to its last cell
