"""A process that has imported what kernels import waits for a request on its standard input, and becomes that kernel.

Arguments: the project's root, and modules to import. The request is one JSON line; an end of file ends the process.
Nothing is forked, so whatever the libraries started on import stays intact, CUDA included.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from mlnb.run.kernels.fresh import Origin, Request, become, launch
from mlnb.run.kernels.loading import ASKS_FOR_THE_SHELL, Loader
from mlnb.run.kernels.wire import Message


def main(project: str, modules: Sequence[str]) -> None:
    """Import, wait, and run the kernel."""
    origin = Origin.here()
    loader = Loader(Path(project), ASKS_FOR_THE_SHELL)
    loader.load_kernel()
    for name in modules:
        loader.load(name)
    line = sys.stdin.buffer.readline()
    if not line:
        return
    message = cast("Message", json.loads(line))
    log = os.open(str(message["log"]), os.O_WRONLY | os.O_APPEND)
    request = Request.from_json(message)
    become(request, (log, os.dup(log)), origin)
    launch(request)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
