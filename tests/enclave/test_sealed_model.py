"""A model on its way to the process that runs it: in pieces, and let go only when all of it was the right one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from goldengrain.chaincode.protocol import digests, stream
from goldengrain.enclave import errors, runner
from goldengrain.enclave.frames import announced
from goldengrain.enclave.runner import ArrayFeed, BytesSource, Forward, Runner
from goldengrain.enclave.sealed_model import SealedModel

from .hostile.jobs import flipped
from .market import INTERFACE, LIMITS, Deal, model_bytes

PLAINTEXT = bytes(range(256)) * 20


def sealed(deal: Deal, ciphertext: bytes, given: bytes | None = None, **order: int) -> SealedModel:
    fields = {"ciphertext": digests.sha256(ciphertext), "size": len(ciphertext)} | order
    made = SealedModel(ciphertext if given is None else given, replace(deal.order, **fields), 1 << 20)
    made.key = deal.key
    return made


def test_the_plaintext_comes_announced_and_its_digest_is_known_afterwards(deal: Deal) -> None:
    model = sealed(deal, stream.encrypt(deal.key, PLAINTEXT, chunk_size=1024))
    for _ in range(2):  # a second attempt is a reading of its own
        pieces: list[bytes] = []
        model.read(lambda piece, taken=pieces: taken.append(bytes(piece)))
        assert b"".join(pieces) == announced(len(PLAINTEXT)) + PLAINTEXT
        assert max(map(len, pieces)) <= 1024
        assert model.digest == digests.sha256(PLAINTEXT)


@pytest.mark.parametrize("short", [1, 1024, 3_000])
def test_no_more_is_handed_on_than_was_announced(deal: Deal, short: int) -> None:
    """What would come after the model is the enclave's to say, and the inputs."""
    ciphertext = stream.encrypt(deal.key, PLAINTEXT, chunk_size=1024)
    pieces: list[bytes] = []
    with pytest.raises(errors.ModelCiphertextWrong, match="the offer says"):
        sealed(deal, ciphertext, size=len(ciphertext) - short).read(lambda piece: pieces.append(bytes(piece)))
    size = int.from_bytes(pieces[0]) if pieces else 0
    assert sum(map(len, pieces[1:])) <= size < len(PLAINTEXT)


def test_bytes_that_are_not_the_ledger_s_come_before_what_is_wrong_with_them(deal: Deal) -> None:
    ciphertext = stream.encrypt(deal.key, PLAINTEXT, chunk_size=1024)
    for given in (flipped(ciphertext, 40), ciphertext + b"x", ciphertext[:-1], b""):
        with pytest.raises(errors.HostBytesRefused, match="the model"):
            sealed(deal, ciphertext, given).read(lambda _: None)


class _Withheld(BytesSource):
    """A whole model that turns out to be the wrong one."""

    def __init__(self, model: bytes, error: Exception) -> None:
        super().__init__(model)
        self._error = error

    def read(self, forward: Forward) -> None:
        super().read(forward)
        raise self._error


@pytest.mark.parametrize("error", [errors.HostBytesRefused("other bytes"), errors.ModelCiphertextWrong("no chunk")])
async def test_a_model_is_parsed_only_once_all_of_it_was_right(
    error: Exception, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mark = tmp_path / "parsed"
    program = "import goldengrain.enclave.worker as w, sys\nreal = w.open_model\n"
    program += f"def open_model(*a):\n    open({str(mark)!r}, 'x').close()\n    return real(*a)\n"
    program += "w.open_model = open_model\nsys.exit(w.main())\n"
    monkeypatch.setattr(runner, "_COMMAND", (runner.sys.executable, "-c", program))
    inputs = np.zeros((1, 4), np.float32)
    async with Runner(spares=0) as workers:
        with pytest.raises(type(error)):
            workers.feed(_Withheld(model_bytes(), error), INTERFACE, LIMITS, ArrayFeed(inputs))
        assert not mark.exists()
        workers.feed(BytesSource(model_bytes()), INTERFACE, LIMITS, ArrayFeed(inputs))
        assert mark.exists()
