"""What is asked over gRPC becomes a request of the application's own: a scope with the route already in it.

Carried into the service: the standard library. The application answers gRPC as it answers HTTP, with the same limits,
tokens, log, warnings, metrics and traces. Here are also the numbers of gRPC's status codes, so that they can be told
where grpcio itself is not loaded.

References
----------
gRPC, "Status codes and their use in gRPC" (doc/statuscodes.md).
"""

from __future__ import annotations

from importlib.util import find_spec

from mlnb.errors import SettingsError
from mlnb.service.protocols import Route

#: Key of a request's scope under which its route is, where its path does not say it: that of a call.
ROUTE = "mlnb.route"
SERVICE = "inference.GRPCInferenceService"
INFER = Route(f"/{SERVICE}/ModelInfer", "", "POST", form="message")
_CODES = {200: 0, 400: 3, 401: 16, 403: 7, 404: 5, 408: 4, 413: 8, 422: 3, 429: 8, 503: 14}
_INTERNAL = 13


def code_of(status: int) -> int:
    """Return the number of gRPC's code that says what an HTTP status says."""
    return _CODES.get(status, _INTERNAL)


def check_grpc() -> None:
    """Raise SettingsError where gRPC is asked for and what it needs is not installed."""
    missing = [name for name, module in (("grpcio", "grpc"), ("protobuf", "google.protobuf")) if not _found(module)]
    if missing:
        raise SettingsError(
            f"The service's setting grpc_port asks for gRPC, but {' and '.join(missing)} is not installed there.",
            "Install mlnb[grpc] where it runs, deploy again for an environment that has it, or leave grpc_port away.",
            key="grpc_port",
        )


def _found(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of the package that it is in
        return False
