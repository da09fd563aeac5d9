"""A version's export becomes lines: which exporter, in which order they were tried, and how faithful the file is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlnb.registry.version import Version


def export_lines(version: Version) -> Iterator[str]:
    """Yield what is known of a version's export; one of an older mlnb tells less."""
    from mlnb.model.choice import choice_of
    from mlnb.model.parity import Parity

    choice = choice_of({"exporter": version.exporter, **version.parity})
    yield f"exporter: {choice.exporter}" + f" ({choice.how})" * bool(choice.how)
    if len(choice.order) > 1:
        tried = (f"{name} ({why})" if why else name for name, why in choice.order)
        yield f"tried in this order: {', '.join(tried)}"
    for one in choice.refused:
        yield f"not {one.sentence()}"
        yield f"  {one.remedy}"
    if "quantiles" not in version.parity:
        told = sorted(version.parity.items())
        numbers = (f"{key} {value}" for key, value in told if not isinstance(value, list | dict))
        yield f"parity: {', '.join(numbers)}"
        return
    parity = Parity.from_json(version.parity)
    yield f"parity: {parity.sentence()}"
    yield from (f"  {part.sentence()}" for part in parity.parts)
    for row in [*parity.worst[:1], *(one for part in parity.parts if part.judged for one in part.worst[:1])]:
        if row.difference > parity.limit:
            yield f"  row {row.row} differs by {row.difference:.2g}: {row.expected} became {row.got}"
