"""Copies between stores: what one organisation lacks, from whoever has it.

Everything is verified on its way. A source that lacks a blob, cannot be reached, answers what is no answer or holds it
damaged is passed over for the next one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from goldengrain.gateway.errors import BlobCorrupt, BlobNotFound, StoreAnswerMalformed, StoreError, StoreUnreachable
from goldengrain.gateway.store.base import Blob, ContentStore, Progress, counted


@dataclass
class Copied:
    """What became of a copying: blobs that came, those that were there already, and why others did not come."""

    came: list[Blob] = field(default_factory=list)
    were_there: list[bytes] = field(default_factory=list)
    failed: dict[bytes, str] = field(default_factory=dict)


def copy(source: ContentStore, target: ContentStore, digest: bytes, progress: Progress | None = None) -> Blob:
    """Copy one blob. Raises BlobNotFound, BlobCorrupt, and what the target's ``put`` raises."""
    with source.open(digest) as reader:
        return target.put(counted(reader, progress), digest)


def replicate(
    sources: Sequence[ContentStore],
    target: ContentStore,
    digests: Iterable[bytes] | None = None,
    progress: Progress | None = None,
) -> Copied:
    """Copy the blobs that ``target`` lacks: those named, or without names all that the sources have."""
    done = Copied()
    wanted = digests if digests is not None else (one for source in sources for one in source)
    for digest in dict.fromkeys(wanted):
        if target.has(digest):
            done.were_there.append(digest)
            continue
        try:
            done.came.append(_first_good(sources, target, digest, progress))
        except StoreError as error:
            done.failed[digest] = f"{error.code}: {error}"
    return done


def _first_good(
    sources: Sequence[ContentStore], target: ContentStore, digest: bytes, progress: Progress | None
) -> Blob:
    failure: StoreError = BlobNotFound(f"no store has the blob {digest.hex()}")
    for source in sources:
        try:
            return copy(source, target, digest, progress)
        except BlobNotFound:
            continue
        except (BlobCorrupt, StoreAnswerMalformed, StoreUnreachable) as error:
            failure = error
    raise failure
