"""Hostile files of weights, each the control with one defect; `build.py` writes them down as cases."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import safetensors.numpy

from tests.enclave.nets import CONFIGS, net, weights

MLP = CONFIGS["mlp"]


def _edited(edit: Callable[[dict[str, Any]], object], name: str = "mlp") -> bytes:
    """A good file with a change in its header; the body stays."""
    good = net(name)
    length = int.from_bytes(good[:8], "little")
    fields = json.loads(good[8 : 8 + length])
    edit(fields)
    text = json.dumps(fields).encode()
    return len(text).to_bytes(8, "little") + text + good[8 + length :]


def _with_model(**changed: Any) -> bytes:
    def edit(fields: dict[str, Any]) -> None:
        model = json.loads(fields["__metadata__"]["model"])
        fields["__metadata__"]["model"] = json.dumps(model | changed)

    return _edited(edit)


def _saved(**tensors: np.ndarray) -> bytes:
    model = json.loads(safetensors_metadata())
    return safetensors.numpy.save(weights(MLP) | tensors, metadata={"model": json.dumps(model)})


def safetensors_metadata() -> str:
    good = net("mlp")
    return str(json.loads(good[8 : 8 + int.from_bytes(good[:8], "little")])["__metadata__"]["model"])


WEIGHTS: dict[str, tuple[Callable[[], bytes], str]] = {
    "too many bytes": (lambda: net("mlp") + bytes(1 << 26), "MODEL_TOO_LARGE"),
    "a header of 2^63 bytes": (lambda: (2**63).to_bytes(8, "little") + net("mlp")[8:], "MODEL_UNPARSABLE"),
    "a weight of 2^60 numbers": (
        lambda: _edited(lambda f: f["fc1.bias"].__setitem__("shape", [2**60])),
        "MODEL_UNPARSABLE",
    ),
    "a file named in a tensor": (
        lambda: _edited(lambda f: f["fc1.bias"].__setitem__("file", "../../etc/passwd")),
        "MODEL_UNPARSABLE",
    ),
    "a pickle for metadata": (
        lambda: _edited(lambda f: f["__metadata__"].__setitem__("model", "\x80\x04}.")),
        "MODEL_UNPARSABLE",
    ),
    "cut in the middle": (lambda: net("mlp")[:-1], "MODEL_UNPARSABLE"),
    "trailing bytes": (lambda: net("mlp") + b"x", "MODEL_UNPARSABLE"),
    "no metadata": (lambda: safetensors.numpy.save(weights(MLP)), "MODEL_UNPARSABLE"),
    "metadata that are no texts": (
        lambda: _edited(lambda f: f["__metadata__"].__setitem__("x", 5)),
        "MODEL_UNPARSABLE",
    ),
    "another format": (lambda: _with_model(format="x"), "MODEL_VERSION_REFUSED"),
    "an architecture of one's own": (lambda: _with_model(architecture="os.system"), "MODEL_STRUCTURE_WRONG"),
    "a parameter more": (lambda: _with_model(code="import os"), "MODEL_STRUCTURE_WRONG"),
    "no hidden layer": (lambda: _with_model(hidden=[]), "MODEL_STRUCTURE_WRONG"),
    "a thousand hidden layers": (lambda: _with_model(hidden=[1] * 1000), "MODEL_STRUCTURE_WRONG"),
    "a layer of 2^60": (lambda: _with_model(hidden=[2**60, 16]), "MODEL_STRUCTURE_WRONG"),
    "a layer of -1": (lambda: _with_model(hidden=[-1, 16]), "MODEL_STRUCTURE_WRONG"),
    "a layer that is true": (lambda: _with_model(hidden=[True, 16]), "MODEL_STRUCTURE_WRONG"),
    "another image": (lambda: _with_model(image=[65]), "MODEL_STRUCTURE_WRONG"),
    "an image that is text": (lambda: _with_model(image="64"), "MODEL_STRUCTURE_WRONG"),
    "other outputs than the task's": (lambda: _with_model(outputs=11), "MODEL_INTERFACE_WRONG"),
    "half precision": (lambda: _edited(lambda f: f["fc1.bias"].__setitem__("dtype", "F16")), "MODEL_UNPARSABLE"),
    "double precision": (lambda: _saved(**{"fc1.bias": np.zeros(32)}), "MODEL_TYPE_REFUSED"),
    "a weight missing": (lambda: _without("fc1.bias"), "MODEL_STRUCTURE_WRONG"),
    "a weight too many": (lambda: _saved(backdoor=np.zeros(1, np.float32)), "MODEL_STRUCTURE_WRONG"),
    "a weight of another shape": (lambda: _saved(**{"fc1.bias": np.zeros(31, np.float32)}), "MODEL_STRUCTURE_WRONG"),
    "weights that overlap": (
        lambda: _edited(lambda f: f["fc2.bias"].__setitem__("data_offsets", f["fc1.bias"]["data_offsets"])),
        "MODEL_UNPARSABLE",
    ),
}


def _without(name: str) -> bytes:
    own = weights(MLP)
    del own[name]
    return safetensors.numpy.save(own, metadata={"model": safetensors_metadata()})
