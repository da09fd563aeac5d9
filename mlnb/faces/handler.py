"""What all requests under ``mlnb/api`` share: who may ask, which file is meant, and how a refusal is said."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType

from jupyter_server.base.handlers import APIHandler

from mlnb.errors import MlnbError, OvertakenError, PolicyError
from mlnb.faces.live import LiveRuns
from mlnb.faces.replies import fault
from mlnb.faces.request import RefusedError, notebook_file, read_object

_STATUS = {OvertakenError: 409, PolicyError: 403}


class MlnbHandler(APIHandler):
    """What all requests share: who may ask, which file is meant, and how a refusal is said."""

    auth_resource = "mlnb"

    @property
    def runs(self) -> LiveRuns:
        """The server's runs."""
        return self.settings["mlnb_runs"]  # type: ignore[no-any-return]  # tornado's settings are untyped

    def body(self) -> dict[str, object]:
        """Return the request's JSON object."""
        return read_object(self.request.body)

    def notebook(self, path: str) -> Path:
        """Return the file of a notebook below the server's root."""
        return notebook_file(str(getattr(self.contents_manager, "root_dir", "")), path)

    def answer(self, message: object) -> None:
        """Finish with a message."""
        self.finish(json.dumps(message))

    def write_error(self, status_code: int, **kwargs: object) -> None:
        """Answer with the two sentences."""
        info = kwargs.get("exc_info")
        error = info[1] if isinstance(info, tuple) else None
        if isinstance(error, MlnbError):
            self.set_status(next((status for kind, status in _STATUS.items() if isinstance(error, kind)), 400))
        self.set_header("Content-Type", "application/json")
        self.answer(fault(error, status_code))

    def log_exception(
        self, typ: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None
    ) -> None:
        """Log what nobody expected; a refusal is no news to the server."""
        if not isinstance(value, MlnbError | RefusedError):
            super().log_exception(typ, value, tb)
