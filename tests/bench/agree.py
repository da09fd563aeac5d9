"""Every example under fork, pool and spawn: whether all that its stages give is the same, whichever way kernels are made."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from tests.bench.cost import spend
from tests.bench.place import Place
from tests.bench.table import Table

_ROOT = Path(__file__).parents[2]
_EXAMPLES = (*sorted(_ROOT.glob("example_notebooks/*.ipynb")), _ROOT / "templates/starter/starter.ipynb")
_COMPARE = """
import json, sys
from pathlib import Path
from mlnb.project import Project
from mlnb.run.options import RunOptions
from mlnb.store.codec import decode
from mlnb.store.equality import same
path = Path(sys.argv[1])
project = Project(path.parent)
given = {}
for how in ("spawn", "fork", "pool"):
    record = project.run(path, options=RunOptions(force=True, kernel=how))
    assert {stage.state for stage in record.stages} == {"done"}, record
    given[how] = {(stage.name, one.name): one for stage in record.stages for one in stage.artifacts}
assert given["fork"].keys() == given["pool"].keys() == given["spawn"].keys()
files, bytes_, values, apart = project.state.files, 0, 0, []
for key, one in given["spawn"].items():
    for how in ("fork", "pool"):
        other = given[how][key]
        if other.digest == one.digest:
            bytes_ += 1
        elif same(decode(one, files), decode(other, files)):
            values += 1
        else:
            apart.append(f"{key[0]}.{key[1]} ({how})")
print(json.dumps([len(given["spawn"]), bytes_, values, apart]))
"""


def bench(place: Place) -> Table:
    """Compare bytes, and where they differ, values."""
    rows, held = [], True
    for example in _EXAMPLES:
        folder = place.make(f"agree-{example.stem}")
        shutil.copy(example, folder)
        told = spend((sys.executable, "-c", _COMPARE, str(folder / example.name)), folder, place.environ)[1]
        artifacts, equal_bytes, equal_values, apart = json.loads(told.splitlines()[-1])
        held = held and artifacts > 0 and not apart
        rows.append([example.stem, str(artifacts), str(equal_bytes), str(equal_values), ", ".join(apart) or "none"])
    return Table(
        "agree: what every example's stages give in spawned kernels, beside forked ones and those of the pool",
        ["example", "artifacts", "equal bytes, of twice as many", "other bytes, equal values", "different"],
        rows,
        held=held,
    )
