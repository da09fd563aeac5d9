"""A real IPython, and `tracked` made importable: tests are collected with importmode=importlib."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location("tracked", Path(__file__).with_name("tracked.py"))
assert _spec is not None
assert _spec.loader is not None
if "tracked" not in sys.modules:
    _module = importlib.util.module_from_spec(_spec)
    sys.modules["tracked"] = _module
    _spec.loader.exec_module(_module)


@pytest.fixture
def shell() -> Iterator[object]:
    """An IPython shell with an empty namespace and no history."""
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    config = Config()
    config.HistoryManager.enabled = False
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance(config=config)
    yield shell
    shell.reset(new_session=False)
    InteractiveShell.clear_instance()
