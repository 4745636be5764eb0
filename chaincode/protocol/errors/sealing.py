"""What can go wrong when something sealed is opened."""

from __future__ import annotations

from goldengrain.chaincode.protocol.errors.base import GoldenGrainError


class SealingError(GoldenGrainError):
    """Something sealed can't be opened."""

    code = "SEALING"


class StreamMalformed(SealingError):
    """Not a stream of this format, or of a size that none has."""

    code = "STREAM_MALFORMED"


class StreamTruncated(SealingError):
    """The stream ends before its last chunk."""

    code = "STREAM_TRUNCATED"


class StreamNotAuthentic(SealingError):
    """A chunk was changed, moved or dropped, or the key is another."""

    code = "STREAM_NOT_AUTHENTIC"


class EnvelopeNotOpened(SealingError):
    """Sealed to another key or for another purpose, or changed."""

    code = "ENVELOPE_NOT_OPENED"


class LockNotOpened(SealingError):
    """Locked by another secret, or for another order or enclave, or changed."""

    code = "LOCK_NOT_OPENED"


class KeyCheckMismatch(SealingError):
    """The key is not the one that the offer commits to."""

    code = "KEY_CHECK_MISMATCH"
