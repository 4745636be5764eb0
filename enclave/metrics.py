"""From a model's outputs to counts (protocol section 10). NumPy only; no engine is needed.

Accuracy: a row of scores predicts its greatest one, ties go to the lowest index, and a row that holds a NaN is wrong;
an output of integers is the prediction itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
WRONG = -1
"""The prediction of a row that holds a NaN: no label is negative."""


def predictions(outputs: Array) -> npt.NDArray[np.int64]:
    """Return the predicted class of each sample: outputs (n, classes) of floats, or (n,) and (n, 1) of integers."""
    if np.issubdtype(outputs.dtype, np.integer):
        return outputs.reshape(len(outputs)).astype(np.int64)
    predicted: npt.NDArray[np.int64] = outputs.argmax(axis=1).astype(np.int64)
    predicted[np.isnan(outputs).any(axis=1)] = WRONG
    return predicted


def count_correct(outputs: Array, labels: Array) -> int:
    """Return how many predictions equal their label (labels (n,) of integers, none negative)."""
    return int(np.count_nonzero(predictions(outputs) == labels))
