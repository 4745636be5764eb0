"""The operator allow-list, and what each operator costs.

An operator that is not here is refused: loops and conditionals (they hold subgraphs), operators whose output size
depends on the data (NonZero, Unique, …), random ones, strings, sequences and whatever isn't ONNX's own. The cost is a
count of elementary operations for one run; it is an upper estimate, meant to bound time, not to predict it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from goldengrain.enclave.errors import ModelStructureWrong
from goldengrain.enclave.onnx_rules.trees import count_tree_steps

ML = "ai.onnx.ml"
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Call:
    """One node with everything that its cost depends on; an absent optional input has the shape None."""

    operator: str
    attributes: Mapping[str, Any]
    inputs: Sequence[Shape | None]
    outputs: Sequence[Shape]

    def input(self, index: int) -> Shape:
        """Return the shape of a required input; raises `ModelStructureWrong` when it is absent."""
        shape = self.inputs[index] if index < len(self.inputs) else None
        if shape is None:
            raise ModelStructureWrong(f"{self.operator} lacks its input {index}")
        return shape

    @property
    def output_elements(self) -> int:
        """Elements of all outputs."""
        return sum(math.prod(shape) for shape in self.outputs)

    @property
    def input_elements(self) -> int:
        """Elements of all inputs."""
        return sum(math.prod(shape) for shape in self.inputs if shape is not None)


Cost = Callable[[Call], int]


def _per_element(factor: int) -> Cost:
    return lambda call: factor * (call.output_elements + call.input_elements)


def _matmul(call: Call) -> int:
    left = call.input(0)
    return 2 * math.prod(call.outputs[0]) * (left[-1] if left else 1)


def _gemm(call: Call) -> int:
    left = call.input(0)
    inner = left[0] if call.attributes.get("transA", 0) else left[-1]
    return 2 * math.prod(call.outputs[0]) * (inner + 1)


def _convolution(call: Call) -> int:
    weights = call.input(1)
    return 2 * math.prod(call.outputs[0]) * (math.prod(weights[1:]) + 1)


def _transposed_convolution(call: Call) -> int:
    weights = call.input(1)
    return 2 * (math.prod(call.input(0)) * math.prod(weights[1:]) + math.prod(call.outputs[0]))


def _pool(call: Call) -> int:
    window = [int(size) for size in call.attributes.get("kernel_shape", ())]
    return math.prod(call.outputs[0]) * (math.prod(window) + 1)


def _sorting(call: Call) -> int:
    elements = math.prod(call.input(0))
    return 4 * elements * max(1, elements.bit_length())


def _trees(call: Call) -> int:
    rows, features = matrix(call.input(0))
    return 4 * rows * count_tree_steps(call.attributes, features) + _per_element(4)(call)


def _linear(call: Call) -> int:
    rows, features = matrix(call.input(0))
    coefficients = len(call.attributes.get("coefficients", ()))
    classes = len(call.attributes.get("intercepts", ())) or int(call.attributes.get("targets", 1))
    if not coefficients or coefficients != classes * features:
        raise ModelStructureWrong(
            f"{call.operator} has {coefficients} coefficients for {classes} outputs of {features} features"
        )
    return 2 * rows * (coefficients + classes)


def _support_vectors(call: Call) -> int:
    rows, features = matrix(call.input(0))
    vectors = len(call.attributes.get("support_vectors", ()))
    if vectors % max(1, features):
        raise ModelStructureWrong(f"{call.operator} has {vectors} numbers for vectors of {features} features")
    support = vectors // max(1, features)
    classes = _check_support_vectors(call, support)
    kernel = 2 * vectors + 16 * support
    return rows * (
        kernel + 2 * support * classes + 4 * classes * classes + len(call.attributes.get("coefficients", ()))
    )


def _check_support_vectors(call: Call, support: int) -> int:
    """Check that counts agree; return the number of classes (1 for a regressor)."""
    attributes = call.attributes
    coefficients = len(attributes.get("coefficients", ()))
    if call.operator == "SVMRegressor":
        if not support or attributes.get("n_supports", support) != support or coefficients != support:
            raise ModelStructureWrong("SVMRegressor: n_supports, coefficients and support vectors disagree")
        return 1
    per_class = attributes.get("vectors_per_class", ())
    classes = len(per_class)
    pairs = classes * (classes - 1) // 2
    probabilities = (len(attributes.get("prob_a", ())), len(attributes.get("prob_b", ())))
    if (
        classes < 2
        or min(per_class) < 0
        or sum(per_class) != support
        or coefficients != support * (classes - 1)
        or len(attributes.get("rho", ())) != pairs
        or probabilities not in {(0, 0), (pairs, pairs)}
        or len(attributes.get("classlabels_ints", ())) != classes
    ):
        raise ModelStructureWrong("SVMClassifier: vectors, coefficients, rho and class labels disagree")
    return classes


def matrix(shape: Shape) -> tuple[int, int]:
    """Read a shape as (rows, features): one row where it has one dimension."""
    if not 1 <= len(shape) <= 2:
        raise ModelStructureWrong(f"a matrix was expected, not the shape {list(shape)}")
    return (1, shape[0]) if len(shape) == 1 else (shape[0], shape[1])


_CHEAP = """
    Abs Add And BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Cast CastLike Ceil Clip Concat Constant ConstantOfShape
    Equal Expand EyeLike Flatten Floor Gather GatherElements GatherND Greater GreaterOrEqual Identity IsInf IsNaN
    LeakyRelu Less LessOrEqual Max Min Mul Neg Not Or PRelu Pad Relu Reshape Round ScatterElements Shape Sign Size
    Slice SpaceToDepth DepthToSpace Split Squeeze Sub Sum ThresholdedRelu Tile Transpose Trilu Unsqueeze Where Xor
    ArgMax ArgMin ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceL1 Range Dropout Mean
"""
_DEAR = """
    Acos Asin Atan BatchNormalization Celu Cos Cosh CumSum Div Elu Erf Exp Gelu GroupNormalization HardSigmoid
    HardSwish InstanceNormalization LayerNormalization Log LogSoftmax LpNormalization MeanVarianceNormalization Mish
    Mod Pow Reciprocal ReduceL2 ReduceLogSum ReduceLogSumExp ReduceSumSquare RMSNormalization Selu Sigmoid Sin Sinh
    Softmax Softplus Softsign Sqrt Swish Tan Tanh GlobalAveragePool GlobalMaxPool
"""
_ML_CHEAP = "ArrayFeatureExtractor Binarizer FeatureVectorizer Imputer LabelEncoder Normalizer Scaler"

COSTS: dict[tuple[str, str], Cost] = {
    **{("", name): _per_element(1) for name in _CHEAP.split()},
    **{("", name): _per_element(16) for name in _DEAR.split()},
    **{(ML, name): _per_element(8) for name in _ML_CHEAP.split()},
    ("", "MatMul"): _matmul,
    ("", "Gemm"): _gemm,
    ("", "Conv"): _convolution,
    ("", "ConvTranspose"): _transposed_convolution,
    ("", "AveragePool"): _pool,
    ("", "MaxPool"): _pool,
    ("", "LpPool"): _pool,
    ("", "TopK"): _sorting,
    (ML, "TreeEnsembleClassifier"): _trees,
    (ML, "TreeEnsembleRegressor"): _trees,
    (ML, "LinearClassifier"): _linear,
    (ML, "LinearRegressor"): _linear,
    (ML, "SVMClassifier"): _support_vectors,
    (ML, "SVMRegressor"): _support_vectors,
}
"""The allow-list: (domain, operator) → its cost."""
