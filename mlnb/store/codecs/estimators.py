"""A fitted scikit-learn estimator becomes a skops file, where skops knows all that it holds.

skops needs no pickle, yet reading may construct any type that the file names. So it counts as executing: the file is
signed, and its types are accepted on the signature's word. Types defined in the notebook are left to cloudpickle.
"""

from __future__ import annotations

import sys
from pathlib import Path

from mlnb.store.equality import same
from mlnb.store.hashed import HashedFile


class SkopsCodec:
    """Estimators of scikit-learn and its like <-> skops."""

    name = "skops"
    rank = 50
    canonical = False
    executes_code = True

    def handles(self, value: object) -> bool:
        """Say whether it is an estimator."""
        base = sys.modules.get("sklearn.base")
        return base is not None and isinstance(value, base.BaseEstimator)

    def write(self, value: object, file: HashedFile) -> None:
        """Write the estimator; a type of the notebook's own is a TypeError."""
        import skops.io

        content = skops.io.dumps(value)
        own = [name for name in skops.io.get_untrusted_types(data=content) if name.startswith("__main__.")]
        if own:
            raise TypeError(f"it holds the notebook's own {', '.join(own)}")
        file.lend(content)

    def read(self, path: Path) -> object:
        """Return the estimator; the caller has checked the signature."""
        import skops.io

        return skops.io.load(path, trusted=skops.io.get_untrusted_types(file=path))

    def faithful(self, value: object, copy: object) -> bool:
        """Say whether all that pickle would keep is equal."""
        return same(value, copy)
