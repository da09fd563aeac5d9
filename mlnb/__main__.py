"""``python -m mlnb`` is the command ``mlnb``."""

from __future__ import annotations

import sys

from mlnb.faces.cli import main

if __name__ == "__main__":
    sys.exit(main())
