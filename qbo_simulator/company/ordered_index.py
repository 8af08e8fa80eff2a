"""A sorted multiset that knows its positions: what makes a window's page cost its rows and not the company's.

Kept as sorted chunks, so that adding or removing one key moves a few kilobytes, and a position is found by
bisection. A million 64-bit keys take 8 MB.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import accumulate

_CHUNK = 4096


class OrderedIndex:
    """64-bit keys in ascending order. Positions count from 0."""

    def __init__(self, keys: Iterable[int] = ()) -> None:
        ordered = array("q", sorted(keys))
        self._chunks = [ordered[at : at + _CHUNK] for at in range(0, len(ordered), _CHUNK)]
        self._lasts = [chunk[-1] for chunk in self._chunks]
        self._starts: list[int] | None = None

    def __len__(self) -> int:
        starts = self._positions()
        return starts[-1] + len(self._chunks[-1]) if starts else 0

    def add(self, key: int) -> None:
        self._starts = None
        if not self._chunks:
            self._chunks.append(array("q", [key]))
            self._lasts.append(key)
            return
        at = min(bisect_left(self._lasts, key), len(self._chunks) - 1)
        chunk = self._chunks[at]
        chunk.insert(bisect_left(chunk, key), key)
        self._lasts[at] = chunk[-1]
        if len(chunk) > 2 * _CHUNK:
            self._chunks[at : at + 1] = [chunk[:_CHUNK], chunk[_CHUNK:]]
            self._lasts[at : at + 1] = [chunk[_CHUNK - 1], chunk[-1]]

    def remove(self, key: int) -> None:
        """KeyError when the key is not there."""
        at = bisect_left(self._lasts, key)
        chunk = self._chunks[at] if at < len(self._chunks) else array("q")
        inside = bisect_left(chunk, key)
        if inside == len(chunk) or chunk[inside] != key:
            raise KeyError(key)
        self._starts = None
        del chunk[inside]
        if chunk:
            self._lasts[at] = chunk[-1]
        else:
            del self._chunks[at]
            del self._lasts[at]

    def rank(self, key: int) -> int:
        """How many keys are smaller."""
        at = bisect_left(self._lasts, key)
        if at == len(self._chunks):
            return len(self)
        return self._positions()[at] + bisect_left(self._chunks[at], key)

    def slice(self, start: int, stop: int) -> array[int]:
        """The keys at positions `start` up to, not including, `stop`."""
        found = array("q")
        starts = self._positions()
        at = max(bisect_left(starts, start + 1) - 1, 0)
        while at < len(starts) and starts[at] < stop:
            found.extend(self._chunks[at][max(start - starts[at], 0) : stop - starts[at]])
            at += 1
        return found

    def __iter__(self) -> Iterator[int]:
        for chunk in self._chunks:
            yield from chunk

    def _positions(self) -> list[int]:
        if self._starts is None:
            self._starts = list(accumulate((len(chunk) for chunk in self._chunks), initial=0))[:-1]
        return self._starts
