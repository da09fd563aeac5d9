"""An MLflow server beside a project: its versions go there, and models come from there.

Where the server is: the verb's ``--to``, else ``MLNB_MLFLOW`` or ``MLFLOW_TRACKING_URI``, as MLflow's own client has
it, else `mlflow` in ``[tool.mlnb]``. Nothing is sent anywhere before somebody asks for it, and credentials of the
environment not to a server that only the project's file names: a cloned project must not be able to ask for them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlnb.errors import UsageError
from mlnb.platforms.mlflow_server import CREDENTIALS, MlflowServer

if TYPE_CHECKING:
    from mlnb.platforms.mirror import Mirrored
    from mlnb.platforms.mlflow_adoption import Adopted, Wanted
    from mlnb.registry.audit import Audit
    from mlnb.registry.registry import Registry
    from mlnb.registry.version import Version
    from mlnb.settings import Settings
    from mlnb.store.folder import StateFolder


@dataclass(frozen=True, slots=True)
class Mlflow:
    """What a project does with an MLflow server.

    Attributes
    ----------
    registry, audit, state, settings
        The project's own.
    evidence : callable
        Everything that was measured of a version.
    by : str
        Who acts.
    """

    registry: Registry
    audit: Audit
    state: StateFolder
    settings: Settings
    evidence: Callable[[Version], Mapping[str, float]]
    by: str

    def mirror(self, model: str = "", to: str = "") -> tuple[Mirrored, ...]:
        """Bring a server up to date with one model, or with all.

        Parameters
        ----------
        model : str
            Its name; empty for all.
        to : str
            The server; empty for the one that is set.

        Raises
        ------
        PlatformError
            If the server does not answer, refuses, or holds another project's model of that name.
        """
        from mlnb.platforms.mirror import Mirror

        names = (model,) if model else self.registry.models()
        with self._server(to) as server:
            mirror = Mirror(self.registry, server, self.evidence, self.state.root / "mirror.lock")
            head = " ".join(f"{row.id} {row.digest}" for row in self.audit.log(last=1))
            return tuple(mirror.mirror(name, head) for name in names)

    def adopt(self, wanted: Wanted, server: str = "") -> Adopted:
        """Register a model of a server; see `mlnb.platforms.mlflow_adoption.adopt`."""
        from mlnb.platforms.mlflow_adoption import Shelf, adopt

        with self._server(server) as found, self.state.in_use():
            return adopt(wanted, found, Shelf(self.registry, self.state, self.settings, self.by))

    def _server(self, named: str) -> MlflowServer:
        """Return the server; what only the project's own file names is not given this user's credentials."""
        chosen = named or os.environ.get("MLNB_MLFLOW", "") or os.environ.get("MLFLOW_TRACKING_URI", "")
        held = [name for name in CREDENTIALS if os.environ.get(name)]
        if not chosen and self.settings.mlflow and held:
            raise UsageError(
                f"pyproject.toml names the MLflow server {self.settings.mlflow}, and {held[0]} is set: who wrote that "
                "file would get it.",
                f"If the server may have it: --to {self.settings.mlflow}, or MLFLOW_TRACKING_URI.",
            )
        return MlflowServer(chosen or self.settings.mlflow, os.environ)
