"""Train the developers' models in child processes, while the network comes up."""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from goldengrain.cli.errors import ExtraMissing, ProcessFailed


@dataclass(frozen=True)
class TrainedModel:
    """A model of a developer: its kind and the ONNX file."""

    kind: str
    path: Path


class Training:
    """Models being trained by ``python -m goldengrain.enclave.models.train``, one after the other in one process.

    One at a time leaves a core to the network that comes up meanwhile.
    """

    def __init__(self, dataset: str, number: int, folder: Path) -> None:
        if any(find_spec(name) is None for name in ("sklearn", "skl2onnx", "onnxruntime")):
            raise ExtraMissing("training models needs the extra `models`: pip install 'goldengrain[models]'")
        from goldengrain.enclave.models.train import kinds

        self._dataset = dataset
        self._models = [TrainedModel(kind, folder / f"{kind}.onnx") for kind in list(kinds(dataset))[:number]]
        self._folder = folder
        self.seconds = 0.0

    async def run(self) -> list[TrainedModel]:
        """Train all of them.

        Raises:
            ProcessFailed: with what the training said, such as that the dataset's files are missing.

        """
        begun = time.perf_counter()
        kinds = [word for one in self._models for word in ("--kind", one.kind)]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "goldengrain.enclave.models.train", *kinds),
            *("--dataset", self._dataset, "--out-dir", str(self._folder)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            _, said = await process.communicate()
        except asyncio.CancelledError:
            process.kill()
            await process.wait()
            raise
        if process.returncode:
            raise ProcessFailed(f"training on {self._dataset} failed: {said.decode(errors='replace').strip()}")
        self.seconds = time.perf_counter() - begun
        return self._models
