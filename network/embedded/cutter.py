"""When a batch of ordered envelopes is a block: Fabric's rules of count and bytes, without a clock.

A block is cut before an envelope that would make it larger than the preferred bytes, with the envelope that fills the
count, around an envelope that alone is larger than the preferred bytes, and around a configuration. What is left waits
for more, or for the batch timeout, which is the orderer's matter.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from goldengrain.network.embedded.config import BatchSettings


@dataclass(frozen=True)
class Queued:
    """An acknowledged envelope: its number in the queue, the configuration it was checked under, when it came.

    `size` is the length of payload and signature in bytes; `arrived` is on the event loop's clock (seconds).
    """

    sequence: int
    envelope: bytes
    size: int
    config_sequence: int
    is_config: bool
    arrived: float


def cut(pending: Iterable[Queued], settings: BatchSettings) -> int | None:
    """Return how many of the first envelopes make a full block, None if they don't fill one."""
    total = 0
    for count, entry in enumerate(pending):
        alone = entry.is_config or entry.size > settings.preferred_max_bytes
        if alone or total + entry.size > settings.preferred_max_bytes:
            return max(count, 1)
        total += entry.size
        if count + 1 >= settings.max_message_count:
            return count + 1
    return None
