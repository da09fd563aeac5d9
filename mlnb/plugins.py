"""One entry-point look-up, at use, never at import: the built-ins come in by the same door as anybody's.

Groups: ``mlnb.codecs``, ``mlnb.exporters``, ``mlnb.executors``, ``mlnb.targets``.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points

from mlnb.errors import PluginError


@cache
def names(group: str) -> tuple[str, ...]:
    """Return the names registered in `group`, sorted."""
    return tuple(sorted(_points(group)))


@cache
def load(group: str, name: str) -> object:
    """Return what the entry point `name` of `group` points to.

    Raises
    ------
    PluginError
        If nothing of that name is installed, or importing it fails.
    """
    points = _points(group)
    if name not in points:
        known = ", ".join(sorted(points)) or "none"
        raise PluginError(
            f"No plugin {name!r} is installed in {group} (installed: {known}).",
            "Install the package that brings it, or reinstall mlnb.",
            group=group,
            plugin=name,
        )
    try:
        return points[name].load()
    except (ImportError, AttributeError) as error:
        raise PluginError(
            f"The plugin {name!r} of {group} cannot be loaded: {error}.",
            f"Repair or remove the package that brings it ({points[name].value}).",
            group=group,
            plugin=name,
        ) from error


@cache
def _points(group: str) -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=group)}
