"""What a person writes in the notebook for a model's card becomes the words of a version, at first and when changed.

The words that were there when a version was registered are in its ``card.json``; a later edit of the cell alone makes
no new version, but a row of the audit log, and the newest words are the ones that count.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from mlnb.model.card_facts import FILE as CARD
from mlnb.model.card_facts import CardFacts
from mlnb.model.card_words import Words, words_for
from mlnb.notebook.document import cells_of
from mlnb.run.notebooks import source_path

if TYPE_CHECKING:
    from mlnb.registry.audit import Audit
    from mlnb.registry.version import Version
    from mlnb.run.record import RunRecord
    from mlnb.store.files import FileStore
    from mlnb.store.folder import StateFolder

WORDS = "card-words"


def written_words(model: str, record: RunRecord, state: StateFolder) -> tuple[Words, ...]:
    """Return what a person wrote for the model's card in the notebook as it ran."""
    path = source_path(state.runs / record.id, Path(record.notebook))
    if not path.is_file():
        return ()
    cells = cells_of(path, path.read_bytes())
    return words_for(model, [(cell.source, cell.tags) for cell in cells if cell.kind == "markdown"])


def renew_words(version: Version, record: RunRecord, state: StateFolder, audit: Audit, by: str) -> bool:
    """Write down, in the audit log, what a person has changed in the words of a version that stays as it is.

    A cell that is gone takes nothing away.
    """
    words = written_words(version.model, record, state)
    if not words or words == words_of(version, state.files, audit):
        return False
    audit.record(by, WORDS, version.ref, {"words": [one.to_json() for one in words]})
    return True


def words_of(version: Version, store: FileStore, audit: Audit) -> tuple[Words, ...]:
    """Return the newest words of a person for a version."""
    for row in reversed(audit.log(version.ref)):
        if row.action == WORDS and row.subject == version.ref:
            found = row.detail["words"]
            return tuple(Words.from_json(one) for one in found) if isinstance(found, list) else ()
    return facts_of(version, store).words


def facts_of(version: Version, store: FileStore) -> CardFacts:
    """Return the facts of a version's ``card.json``; empty ones for a version that has none.

    Raises
    ------
    CorruptError, NewerFormatError
        If it cannot be read.
    """
    digest = version.files.get(CARD)
    return CardFacts.from_json(json.loads(store.verify(digest).read_bytes())) if digest else CardFacts()
