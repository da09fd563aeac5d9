"""Relevance and scores of rows in queries become each query's metrics, whose means are the ranking's.

nDCG is scikit-learn's: linear gains, a logarithmic discount, tied scores averaged. The others take relevance above 0 as
relevant, and of tied rows the irrelevant ones first: a score that says nothing must not gain by the order of the file.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mlnb.model.bootstrap import Flags, Floats, Ints, OneEach


@dataclass(frozen=True)
class QuerySample(OneEach):
    """Queries, each with its own metrics.

    Attributes
    ----------
    names : tuple of str
        ``ndcg@10``, ``map@10``, ``recall@10``, ``hit_rate@10`` for each cut-off, and ``mrr``.
    table : ndarray of float, shape (queries, metrics)
    """

    names: tuple[str, ...]
    table: Floats
    block: int = 1

    @property
    def units(self) -> int:
        """Return the number of queries."""
        return int(self.table.shape[0])

    @property
    def cost(self) -> int:
        """Return how many numbers a resample touches."""
        return self.units

    def values(self, weights: Floats) -> Floats:
        """Return the metrics of weighted queries, shape (resamples, metrics)."""
        means: Floats = weights @ self.table / weights.sum(axis=1)[:, None]
        return means

    def part(self, rows: Flags) -> QuerySample:
        """Return the sample of some of the queries."""
        return QuerySample(self.names, self.table[rows])

    def scarcest(self) -> int:
        """Return the number of queries."""
        return self.units


def query_metrics(relevance: Floats, scores: Floats, query: Ints, cuts: tuple[int, ...]) -> QuerySample:
    """Return the metrics of every query.

    Parameters
    ----------
    relevance, scores : ndarray of float, shape (rows,)
        Relevance is 0 or more; every query has a row above 0.
    query : ndarray of int, shape (rows,)
        The query of each row, from 0.
    cuts : tuple of int
        How many of the best answers count.
    """
    hits, place = _hits(relevance, scores, query)
    good = np.bincount(query, weights=hits)
    first = np.full(good.size, np.inf)
    np.minimum.at(first, query, np.where(hits > 0, place + 1, np.inf))
    columns: dict[str, Floats] = {}
    gains = ndcg(relevance, scores, query, cuts)
    before = _before(hits, query, place)
    for column, cut in enumerate(cuts):
        within = hits * (place < cut)
        found = np.bincount(query, weights=within)
        precise = np.bincount(query, weights=within * before / (place + 1))
        columns[f"ndcg@{cut}"] = gains[:, column]
        columns[f"map@{cut}"] = precise / np.minimum(good, cut)
        columns[f"recall@{cut}"] = found / good
        columns[f"precision@{cut}"] = found / cut
        columns[f"hit_rate@{cut}"] = (found > 0).astype(np.float64)
    columns["mrr"] = 1 / first
    return QuerySample(tuple(columns), np.column_stack(list(columns.values())))


def ndcg(relevance: Floats, scores: Floats, query: Ints, cuts: tuple[int, ...]) -> Floats:
    """Return the normalised discounted cumulative gain of each query at each cut-off, shape (queries, cuts)."""
    return _dcg(relevance, scores, query, cuts) / _dcg(relevance, relevance, query, cuts)


def _dcg(relevance: Floats, scores: Floats, query: Ints, cuts: tuple[int, ...]) -> Floats:
    order = np.lexsort((-scores, query))
    query, gains = query[order], relevance[order]
    tied = np.zeros(query.size, dtype=np.int64)
    tied[1:] = np.cumsum((query[1:] != query[:-1]) | (scores[order][1:] != scores[order][:-1]))
    gains = (np.bincount(tied, weights=gains) / np.bincount(tied))[tied]
    place = _places(query)
    discounted = gains / np.log2(place + 2)
    return np.column_stack([np.bincount(query, weights=discounted * (place < cut)) for cut in cuts])


def _hits(relevance: Floats, scores: Floats, query: Ints) -> tuple[Floats, Ints]:
    """Return, row by row, whether it is relevant, and its place in its query, from 0."""
    order = np.lexsort((relevance > 0, -scores, query))
    place = np.empty(query.size, dtype=np.int64)
    place[order] = _places(query[order])
    return (relevance > 0).astype(np.float64), place


def _places(query: Ints) -> Ints:
    """Return the place of each row within its query, the rows being sorted by query."""
    starts = np.searchsorted(query, query)
    return np.arange(query.size) - starts


def _before(hits: Floats, query: Ints, place: Ints) -> Floats:
    """Return how many relevant rows of its query stand at or before each row."""
    order = np.lexsort((place, query))
    running = np.cumsum(hits[order])
    first = np.searchsorted(query[order], query[order])
    counts = np.empty(hits.size)
    counts[order] = running - np.where(first > 0, running[np.maximum(first - 1, 0)], 0)
    return counts
