"""What a service has loaded becomes its own description: OpenAPI 3.1, and the Open Inference Protocol's metadata.

``GET /openapi.json`` describes the version behind the default alias. ``GET /v2``, ``/v2/health/live``,
``/v2/health/ready``, ``/v2/models/<model>``, ``/v2/models/<model>/versions/<number>`` and either with ``/ready`` are
those of the Open Inference Protocol v2 (https://github.com/kserve/open-inference-protocol). ``GET /v1/models`` and
``/v1/models/<model>`` are KServe's and TensorFlow Serving's at once.
"""

from __future__ import annotations

from mlnb.errors import RequestError
from mlnb.model.metadata import inference_metadata, openapi
from mlnb.service.router import LoadedVersion, Routing


def describe(path: str, routing: Routing, *, ready: bool, explains: bool = False) -> dict[str, object]:
    """Return the document at a path that `mlnb.service.protocols.route_of` has let through.

    Raises
    ------
    RequestError
        404 for a model or version that is not served, 503 where it is asked whether a model is ready that is not.
    """
    if path == "/openapi.json":
        version = _live(routing)
        aliases, signature = sorted(routing.aliases), version.scorer.signature
        return openapi(routing.model, str(version.number), aliases, signature, explains=explains)
    if path.startswith("/v1/"):
        return _first_version(path, routing, ready=ready)
    match path.strip("/").split("/")[1:]:
        case []:
            return {"name": "mlnb", "version": "2", "extensions": ["binary_tensor_data"]}
        case ["health", "live"]:
            return {"live": True}
        case ["health", _]:
            return {"ready": _sure(ready)}
        case ["models", model, *rest]:
            version = _version(routing, model, rest[1] if rest[:1] == ["versions"] else "")
            if rest[-1:] == ["ready"]:
                return {"name": model, "ready": _sure(ready)}
            served = sorted({str(one.number) for one in routing.aliases.values()}, key=int)
            return inference_metadata(model, served, version.scorer.exporter, version.scorer.signature)
    raise _unknown(path)


def _first_version(path: str, routing: Routing, *, ready: bool) -> dict[str, object]:
    _, _, *named = path.strip("/").split("/")
    if not named:
        return {"models": [routing.model]}
    model, *rest = named
    number = rest[1] if rest[:1] == ["versions"] else ""
    alias = rest[1] if rest[:1] == ["labels"] else routing.alias_of(model, number)
    asked = routing.version_of(alias)[1] if rest else None
    served = {version.number for version in routing.aliases.values()} if asked is None else {asked.number}
    status = {"error_code": "OK", "error_message": ""}
    states = [{"version": str(one), "state": "AVAILABLE", "status": status} for one in sorted(served)]
    return {"name": model, "ready": _sure(ready), "model_version_status": states}


def _version(routing: Routing, model: str, number: str) -> LoadedVersion:
    if model != routing.model:
        raise _unknown(f"the model {model[:100]}")
    if not number:
        return _live(routing)
    for version in routing.aliases.values():
        if str(version.number) == number:
            return version
    raise _unknown(f"version {number[:20]} of {model}")


def _live(routing: Routing) -> LoadedVersion:
    return routing.version_of("")[1]


def _sure(ready: bool) -> bool:
    if not ready:
        raise RequestError("The service is not ready.", "GET /readyz says why.", status=503)
    return True


def _unknown(what: str) -> RequestError:
    return RequestError(f"This service has nothing called {what}.", "GET /readyz lists what is served.", status=404)
