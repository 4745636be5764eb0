"""Bytes as choices, and documents that they change in a few places."""

from __future__ import annotations

from typing import Any

HUGE = 2**63
EDGES: tuple[Any, ...] = (
    0, 1, -1, 2, 2**31, 2**32, HUGE - 1, HUGE, 2**256, True, False, None, "", "0", "ff" * 32, "FF" * 32, "00" * 32,
    "x" * 65, "é", "\ud800", "\x00", [], {}, [[]], [None], ["00" * 32] * 65, {"v": 1}, 1.5,
)  # fmt: skip


class Source:
    """Bytes, taken a few at a time; nothing but zeros once they are used up."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        """Bytes that are not used up."""
        return len(self._data) - self._at

    def rest(self) -> bytes:
        """All that is left."""
        return self._data[self._at :]

    def number(self, below: int) -> int:
        """A number under `below`."""
        taken = self._data[self._at : self._at + 2]
        self._at += 2
        return int.from_bytes(taken, "big") % below


def changed(document: Any, source: Source) -> Any:
    """Change a document in up to three places."""
    for _ in range(1 + source.number(3)):
        document = _changed_once(document, source)
    return document


def _changed_once(document: Any, source: Source) -> Any:
    """Exchange, drop or add a value, somewhere in a document."""
    if isinstance(document, dict) and document and source.number(8):
        name = sorted(document)[source.number(len(document))]
        action = source.number(16)
        if action == 0:
            return {key: value for key, value in document.items() if key != name}
        if action == 1:
            return {**document, f"{name}x": document[name]}
        return {**document, name: _changed_once(document[name], source)}
    if isinstance(document, list) and document and source.number(8):
        index = source.number(len(document))
        action = source.number(4)
        if action == 0:
            return document[:index] + document[index + 1 :]
        if action == 1:
            return document + document[index : index + 1]
        return [*document[:index], _changed_once(document[index], source), *document[index + 1 :]]
    if isinstance(document, int) and not isinstance(document, bool) and source.number(2):
        return document + (-1, 1, 1_000, -1_000)[source.number(4)]
    if isinstance(document, str) and document and source.number(2):
        at = source.number(len(document))
        return document[:at] + "0123456789abcdef"[source.number(16)] + document[at + 1 :]
    return EDGES[source.number(len(EDGES))]
