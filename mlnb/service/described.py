"""What a service has loaded becomes its own description: OpenAPI, the page to try it, and the metadata of others.

``GET /openapi.json`` describes every route, ``GET /docs`` lets a person try them, ``GET /`` says that the service
lives, as KServe asks it. ``GET /v2``, ``/v2/health/live``, ``/v2/health/ready``, ``/v2/models/<model>``,
``/v2/models/<model>/versions/<number>`` and either with ``/ready`` are those of the Open Inference Protocol v2
(https://github.com/kserve/open-inference-protocol); ``POST /v2/repository/index`` is the part of Triton's "Model
Repository Extension" that changes nothing. ``GET /v1/models`` and ``/v1/models/<model>`` are KServe's and TensorFlow
Serving's at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from mlnb.errors import RequestError
from mlnb.model.metadata import inference_metadata
from mlnb.service.configuration import Configuration
from mlnb.service.forms import Written
from mlnb.service.protocols import Route, encode, route_of
from mlnb.service.router import LoadedVersion, Routing
from mlnb.service.traffic import COLUMN

_OPENAPI = "/openapi.json"


class Described:
    """Describes one application; the OpenAPI document, which is large, is made once for each routing.

    Parameters
    ----------
    configuration : Configuration
        What one request may ask for.
    named : Mapping of str to Route
        Further paths, as a platform named them.
    """

    def __init__(self, configuration: Configuration, named: Mapping[str, Route]) -> None:
        self._configuration = configuration
        self._named = named
        self._kept: tuple[Routing, bool, Written] | None = None

    def at(self, path: str, routing: Routing, *, ready: bool, needs: Callable[[Route], bool] | None) -> Written:
        """Return the document at a path, as `describe` does."""
        if path != _OPENAPI:
            return describe(path, routing, self._configuration, ready=ready, named=self._named, needs=needs)
        kept, is_open = self._kept, needs is None
        if kept is None or kept[0] is not routing or kept[1] is not is_open:
            made = describe(path, routing, self._configuration, ready=ready, named=self._named, needs=needs)
            kept = self._kept = (routing, is_open, made)
        return kept[2]


def describe(
    path: str,
    routing: Routing,
    configuration: Configuration,
    *,
    ready: bool,
    named: Mapping[str, Route] = MappingProxyType({}),
    needs: Callable[[Route], bool] | None = None,
) -> Written:
    """Return the document at a path that `mlnb.service.protocols.route_of` has let through.

    Parameters
    ----------
    path : str
        What is asked for.
    routing : Routing
        What is live.
    configuration : Configuration
        What one request may ask for.
    ready : bool
        Whether predictions are answered.
    named : Mapping of str to Route
        Further paths, as a platform named them.
    needs : callable or None
        Whether a route needs a token; None where none does.

    Raises
    ------
    RequestError
        404 for a model or version that is not served, 503 where it is asked whether a model is ready that is not.
    """
    if path == "/docs":
        from mlnb.service.docs import page

        html, policy = page(routing.model)
        safe = ((b"content-security-policy", policy.encode()), (b"x-content-type-options", b"nosniff"))
        return Written(html, b"text/html; charset=utf-8", safe)
    if path == _OPENAPI:
        document = _document(routing, configuration, named)
        return Written(encode(document if needs is None else _secured(document, routing, named, needs)))
    return Written(encode(_told(path, routing, ready=ready)))


def _document(routing: Routing, configuration: Configuration, named: Mapping[str, Route]) -> dict[str, object]:
    from mlnb.service.openapi import Live, Served, openapi
    from mlnb.service.openapi_forms import read_example

    _, version = routing.version_of("")
    aliases = [Live(alias, one.number, one.scorer.signature) for alias, one in sorted(routing.aliases.items())]
    return openapi(
        Served(
            routing.model,
            Live(routing.default, version.number, version.scorer.signature),
            read_example(version.package, version.digest),
            aliases,
            configuration.max_rows,
            _explain_rows(version, configuration.explain_evaluations),
            {path: route.method == "POST" for path, route in named.items()},
            _callers(routing),
        )
    )


def _callers(routing: Routing) -> list[str]:
    """Return the headers by which callers are known where versions share the traffic."""
    named = {one.traffic.sticky for one in routing.traffic.values()}
    return sorted(one for one in named if one and not one.startswith(COLUMN))


def _secured(
    document: dict[str, object], routing: Routing, named: Mapping[str, Route], needs: Callable[[Route], bool]
) -> dict[str, object]:
    from mlnb.service.openapi_parts import secured

    def asks(method: str, path: str) -> bool:
        filled = path.format(model=routing.model, number=routing.version_of("")[1].number, alias=routing.default)
        return needs(route_of(method, filled, named))

    return secured(document, asks)


def _explain_rows(version: LoadedVersion, budget: int) -> int:
    """Return how many rows one request may have explained."""
    if not budget:
        return 0
    from mlnb.model.shapley import least_budget
    from mlnb.service.explain import ROWS

    return min(ROWS, budget // least_budget(len(version.scorer.signature.inputs)))


def _told(path: str, routing: Routing, *, ready: bool) -> object:
    if path == "/":
        return {"status": "alive", "model": routing.model, "docs": "docs", "openapi": "openapi.json"}
    if path.startswith("/v1/"):
        return _first_version(path, routing, ready=ready)
    match path.strip("/").split("/")[1:]:
        case []:
            return {"name": "mlnb", "version": "2", "extensions": ["binary_tensor_data"]}
        case ["health", "live"]:
            return {"live": True}
        case ["health", _]:
            return {"ready": _sure(ready)}
        case ["repository", "index"]:
            return [{"name": routing.model, "version": one, "state": "READY", "reason": ""} for one in _served(routing)]
        case ["models", model, *rest]:
            version = _version(routing, model, rest[1] if rest[:1] == ["versions"] else "")
            if rest[-1:] == ["ready"]:
                return {"name": model, "ready": _sure(ready)}
            return inference_metadata(model, _served(routing), version.scorer.exporter, version.scorer.signature)
    raise _unknown(path)


def _first_version(path: str, routing: Routing, *, ready: bool) -> dict[str, object]:
    _, _, *named = path.strip("/").split("/")
    if not named:
        return {"models": [routing.model]}
    model, *rest = named
    number = rest[1] if rest[:1] == ["versions"] else ""
    alias = rest[1] if rest[:1] == ["labels"] else routing.alias_of(model, number)
    if model != routing.model:
        raise _unknown(f"the model {model[:100]}")
    asked = routing.version_of(alias)[1] if rest else None
    served = {version.number for version in routing.aliases.values()} if asked is None else {asked.number}
    status = {"error_code": "OK", "error_message": ""}
    states = [{"version": str(one), "state": "AVAILABLE", "status": status} for one in sorted(served)]
    return {"name": model, "ready": _sure(ready), "model_version_status": states}


def _served(routing: Routing) -> list[str]:
    return sorted({str(one.number) for one in routing.aliases.values()}, key=int)


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
