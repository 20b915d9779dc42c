"""Each MIL operation of the evaluator against torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from export.errors import UnknownOperation
from export.mil import evaluate
from export.mil_ops import OPERATIONS


def noise(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


X, Y = noise(2, 4, 7, 9), noise(2, 4, 7, 9, seed=2)
POSITIVE = X.abs() + 0.1
FLAGS = X > 0
WEIGHT, BIAS = noise(6, 4, 3, 3, seed=3), noise(6, seed=4)
GROUPED = noise(4, 1, 3, 3, seed=5)
TRANSPOSED = noise(4, 5, 2, 2, seed=6)
SQUARE = noise(1, 2, 6, 6, seed=7)
GRID = torch.rand((1, 5, 4, 2), generator=torch.Generator().manual_seed(8)) * 2.4 - 1.2
VECTOR = noise(4, seed=9)
INTS = torch.tensor([[2, 0, 1]], dtype=torch.int32)
ROWS = noise(3, 5, seed=10)
LINEAR, LINEAR_BIAS = noise(6, 5, seed=11), noise(6, seed=12)

Case = tuple[str, dict[str, Any], Callable[[], Any]]

CASES: list[Case] = [
    *((name, {"x": X}, lambda function=function: function(X)) for name, function in {
        "abs": torch.abs, "ceil": torch.ceil, "cos": torch.cos, "erf": torch.erf, "exp": torch.exp, "floor": torch.floor,
        "identity": lambda x: x, "relu": F.relu, "relu6": lambda x: x.clamp(0, 6), "round": torch.round,
        "sigmoid": torch.sigmoid, "sign": torch.sign, "silu": F.silu, "sin": torch.sin, "softplus": F.softplus,
        "square": lambda x: x * x, "tanh": torch.tanh,
    }.items()),
    ("sqrt", {"x": POSITIVE}, lambda: POSITIVE**0.5),
    ("logical_not", {"x": FLAGS}, lambda: ~FLAGS),
    *((name, {"x": X, "y": Y}, lambda function=function: function(X, Y)) for name, function in {
        "add": lambda x, y: x + y, "sub": lambda x, y: x - y, "mul": lambda x, y: x * y, "real_div": lambda x, y: x / y,
        "maximum": torch.maximum, "minimum": torch.minimum, "greater": lambda x, y: x > y,
        "greater_equal": lambda x, y: x >= y, "less": lambda x, y: x < y, "less_equal": lambda x, y: x <= y,
        "equal": lambda x, y: x == y, "not_equal": lambda x, y: x != y, "mod": torch.remainder,
        "floor_div": lambda x, y: torch.floor(x / y),
    }.items()),
    ("add", {"x": X, "y": 2.0}, lambda: X + 2),
    ("pow", {"x": POSITIVE, "y": 1.5}, lambda: POSITIVE**1.5),
    ("logical_and", {"x": FLAGS, "y": Y > 0}, lambda: FLAGS & (Y > 0)),
    ("logical_or", {"x": FLAGS, "y": Y > 0}, lambda: FLAGS | (Y > 0)),
    ("log", {"x": POSITIVE}, lambda: POSITIVE.log()),
    ("rsqrt", {"x": POSITIVE, "epsilon": 0.01}, lambda: 1 / (POSITIVE + 0.01).sqrt()),
    ("inverse", {"x": POSITIVE, "epsilon": 0.01}, lambda: 1 / (POSITIVE + 0.01)),
    ("clip", {"x": X, "alpha": -0.5, "beta": 0.5}, lambda: X.clamp(-0.5, 0.5)),
    ("sigmoid_hard", {"x": X, "alpha": 1 / 6, "beta": 0.5}, lambda: F.hardsigmoid(X)),
    ("thresholded_relu", {"x": X, "alpha": 0.3}, lambda: X * (X >= 0.3)),
    ("leaky_relu", {"x": X, "alpha": 0.2}, lambda: F.leaky_relu(X, 0.2)),
    ("gelu", {"x": X, "mode": "EXACT"}, lambda: F.gelu(X)),
    ("gelu", {"x": X, "mode": "TANH_APPROXIMATION"}, lambda: F.gelu(X, approximate="tanh")),
    ("gelu", {"x": X, "mode": "SIGMOID_APPROXIMATION"}, lambda: X / (1 + torch.exp(-1.702 * X))),
    ("softmax", {"x": X, "axis": 1}, lambda: X.softmax(1)),
    ("cast", {"x": X, "dtype": "int32"}, lambda: X.int()),
    ("cast", {"x": X, "dtype": "fp16"}, lambda: X.half().float()),
    ("cast", {"x": FLAGS, "dtype": "fp32"}, lambda: FLAGS.float()),
    ("select", {"cond": FLAGS, "a": X, "b": Y}, lambda: torch.where(FLAGS, X, Y)),
    ("conv", {"x": X, "weight": WEIGHT, "bias": BIAS, "strides": [2, 2], "pad_type": "custom", "pad": [1, 1, 1, 1],
              "dilations": [1, 1], "groups": 1}, lambda: F.conv2d(X, WEIGHT, BIAS, 2, 1)),
    ("conv", {"x": X, "weight": WEIGHT, "pad_type": "custom", "pad": [2, 2, 2, 2], "dilations": [2, 2]},
     lambda: F.conv2d(X, WEIGHT, None, 1, 2, 2)),
    ("conv", {"x": X, "weight": GROUPED, "pad_type": "valid", "groups": 4}, lambda: F.conv2d(X, GROUPED, groups=4)),
    ("conv", {"x": X, "weight": WEIGHT, "pad_type": "same", "strides": [2, 2]},
     lambda: F.conv2d(F.pad(X, (1, 1, 1, 1)), WEIGHT, None, 2)),
    ("conv", {"x": SQUARE[:, :, :, :1].squeeze(3).repeat(1, 2, 1), "weight": WEIGHT[..., 0], "pad_type": "valid"},
     lambda: F.conv1d(SQUARE[:, :, :, 0].repeat(1, 2, 1), WEIGHT[..., 0])),
    ("conv_transpose", {"x": X, "weight": TRANSPOSED, "strides": [2, 2], "pad_type": "valid"},
     lambda: F.conv_transpose2d(X, TRANSPOSED, None, 2)),
    ("conv_transpose", {"x": X, "weight": TRANSPOSED, "strides": [2, 2], "pad_type": "custom", "pad": [1, 1, 1, 1]},
     lambda: F.conv_transpose2d(X, TRANSPOSED, None, 2, 1)),
    ("linear", {"x": ROWS, "weight": LINEAR, "bias": LINEAR_BIAS}, lambda: F.linear(ROWS, LINEAR, LINEAR_BIAS)),
    ("matmul", {"x": X, "y": Y, "transpose_x": False, "transpose_y": True}, lambda: X @ Y.transpose(2, 3)),
    ("matmul", {"x": X, "y": Y, "transpose_x": True, "transpose_y": False}, lambda: X.transpose(2, 3) @ Y),
    ("batch_norm", {"x": X, "mean": VECTOR, "variance": VECTOR.abs() + 1, "gamma": VECTOR, "beta": VECTOR, "epsilon": 1e-3},
     lambda: F.batch_norm(X, VECTOR, VECTOR.abs() + 1, VECTOR, VECTOR, eps=1e-3)),
    ("layer_norm", {"x": ROWS, "axes": [-1], "gamma": noise(5), "beta": noise(5, seed=3), "epsilon": 1e-5},
     lambda: F.layer_norm(ROWS, (5,), noise(5), noise(5, seed=3))),
    ("instance_norm", {"x": X, "gamma": VECTOR, "beta": VECTOR, "epsilon": 1e-5},
     lambda: F.instance_norm(X, weight=VECTOR, bias=VECTOR)),
    ("max_pool", {"x": X, "kernel_sizes": [3, 3], "strides": [2, 2], "pad_type": "custom", "pad": [1, 1, 1, 1]},
     lambda: F.max_pool2d(X, 3, 2, 1)),
    ("max_pool", {"x": X, "kernel_sizes": [2, 2], "strides": [2, 2], "pad_type": "valid", "ceil_mode": False},
     lambda: F.max_pool2d(X, 2, 2)),
    ("avg_pool", {"x": X, "kernel_sizes": [2, 2], "strides": [2, 2], "pad_type": "valid"}, lambda: F.avg_pool2d(X, 2, 2)),
    ("avg_pool", {"x": X, "kernel_sizes": [3, 3], "strides": [1, 1], "pad_type": "custom", "pad": [1, 1, 1, 1],
                  "exclude_padding_from_average": True}, lambda: F.avg_pool2d(X, 3, 1, 1, count_include_pad=False)),
    ("upsample_bilinear", {"x": X, "scale_factor_height": 2, "scale_factor_width": 2, "align_corners": False},
     lambda: F.interpolate(X, scale_factor=2, mode="bilinear", align_corners=False)),
    ("upsample_bilinear", {"x": X, "scale_factor_height": 2.0, "scale_factor_width": 3.0, "align_corners": True},
     lambda: F.interpolate(X, (14, 27), mode="bilinear", align_corners=True)),
    ("resize_bilinear", {"x": X, "target_size_height": 5, "target_size_width": 11, "sampling_mode": "UNALIGN_CORNERS"},
     lambda: F.interpolate(X, (5, 11), mode="bilinear", align_corners=False)),
    ("upsample_nearest_neighbor", {"x": X, "scale_factor_height": 2, "scale_factor_width": 2},
     lambda: F.interpolate(X, scale_factor=2)),
    ("resample", {"x": SQUARE, "coordinates": GRID, "sampling_mode": "bilinear", "padding_mode": "constant",
                  "padding_value": 0.0, "coordinates_mode": "normalized_minus_one_to_one", "align_corners": False},
     lambda: F.grid_sample(SQUARE, GRID, "bilinear", "zeros", False)),
    ("resample", {"x": SQUARE, "coordinates": (GRID + 1) / 2, "sampling_mode": "bilinear", "padding_mode": "border",
                  "padding_value": 0.0, "coordinates_mode": "normalized_zero_to_one", "align_corners": False},
     lambda: F.grid_sample(SQUARE, GRID, "bilinear", "border", False)),
    ("resample", {"x": SQUARE, "coordinates": ((GRID + 1) * 6 - 1) / 2, "sampling_mode": "bilinear",
                  "padding_mode": "constant", "padding_value": 0.0, "coordinates_mode": "unnormalized",
                  "align_corners": False}, lambda: F.grid_sample(SQUARE, GRID, "bilinear", "zeros", False)),
    ("reduce_mean", {"x": X, "axes": [2, 3], "keep_dims": True}, lambda: X.mean((2, 3), keepdim=True)),
    ("reduce_sum", {"x": X, "axes": [-1], "keep_dims": False}, lambda: X.sum(-1)),
    ("reduce_max", {"x": X, "axes": [1], "keep_dims": False}, lambda: X.amax(1)),
    ("reduce_min", {"x": X, "axes": None, "keep_dims": False}, lambda: X.min()),
    ("reduce_l2_norm", {"x": X, "axes": [1], "keep_dims": True}, lambda: X.norm(dim=1, keepdim=True)),
    ("reduce_argmax", {"x": X, "axis": 1, "keep_dims": False}, lambda: X.argmax(1).int()),
    ("topk", {"x": ROWS, "k": 2, "axis": -1, "ascending": False}, lambda: (ROWS.topk(2)[0], ROWS.topk(2)[1].int())),
    ("topk", {"x": ROWS, "k": 2, "axis": 0, "ascending": True, "return_indices": False},
     lambda: ROWS.topk(2, 0, largest=False)[0]),
    ("gather_along_axis", {"x": ROWS[:1], "indices": INTS, "axis": 1}, lambda: ROWS[:1, [2, 0, 1]]),
    ("gather", {"x": ROWS, "indices": INTS, "axis": 1}, lambda: ROWS[:, INTS.long()]),
    ("gather", {"x": ROWS, "indices": 1, "axis": 0}, lambda: ROWS[1]),
    ("concat", {"values": [X, Y], "axis": 1, "interleave": False}, lambda: torch.cat([X, Y], 1)),
    ("concat", {"values": [X, Y], "axis": 1, "interleave": True}, lambda: torch.stack([X, Y], 2).flatten(1, 2)),
    ("stack", {"values": [X, Y], "axis": -1}, lambda: torch.stack([X, Y], -1)),
    ("split", {"x": X, "axis": 1, "num_splits": 2}, lambda: X.chunk(2, 1)),
    ("split", {"x": X, "axis": 1, "split_sizes": torch.tensor([1, 3])}, lambda: X.split([1, 3], 1)),
    ("reshape", {"x": X, "shape": torch.tensor([0, -1, 9])}, lambda: X.reshape(2, 28, 9)),
    ("transpose", {"x": X, "perm": [0, 2, 3, 1]}, lambda: X.permute(0, 2, 3, 1)),
    ("expand_dims", {"x": ROWS, "axes": [0, -1]}, lambda: ROWS[None, :, :, None]),
    ("squeeze", {"x": ROWS[None, :, :, None], "axes": [0, 3]}, lambda: ROWS),
    ("tile", {"x": ROWS, "reps": [2, 1]}, lambda: ROWS.repeat(2, 1)),
    ("pad", {"x": X, "pad": torch.tensor([0, 0, 0, 0, 1, 2, 3, 0]), "mode": "constant", "constant_val": 2.0},
     lambda: F.pad(X, (3, 0, 1, 2), value=2.0)),
    ("pad", {"x": X, "pad": [0, 0, 0, 0, 1, 2, 3, 0], "mode": "reflect"}, lambda: F.pad(X, (3, 0, 1, 2), mode="reflect")),
    ("pad", {"x": X, "pad": [0, 0, 0, 0, 1, 2, 3, 0], "mode": "replicate"},
     lambda: F.pad(X, (3, 0, 1, 2), mode="replicate")),
    ("slice_by_index", {"x": X, "begin": [0, 1, 2, 0], "end": [2, 3, 6, 9], "stride": [1, 1, 2, 1]},
     lambda: X[:, 1:3, 2:6:2]),
    ("slice_by_index", {"x": X, "begin": [0, 0, 0, -1], "end": [0, 0, 0, 0], "begin_mask": [True, True, True, False],
                        "end_mask": [True, True, True, False], "squeeze_mask": [False, False, False, True]},
     lambda: X[..., -1]),
    ("slice_by_size", {"x": X, "begin": [0, 1, 0, 2], "size": [2, 2, -1, 3]}, lambda: X[:, 1:3, :, 2:5]),
    ("fill", {"shape": torch.tensor([2, 3]), "value": 1.5}, lambda: torch.full((2, 3), 1.5)),
    ("fill_like", {"ref_tensor": X, "value": 0.5}, lambda: torch.full_like(X, 0.5)),
    ("shape", {"x": X}, lambda: torch.tensor([2, 4, 7, 9], dtype=torch.int32)),
    ("range_1d", {"start": 0, "end": 7, "step": 2}, lambda: torch.tensor([0, 2, 4, 6])),
    ("constexpr_cast", {"source_val": X.half(), "output_dtype": "fp32"}, lambda: X.half().float()),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "arguments", "expected"), CASES, ids=[f"{i}-{case[0]}" for i, case in enumerate(CASES)]
)
def test_operation_equals_torch(name: str, arguments: dict[str, Any], expected: Callable[[], Any]) -> None:
    wanted = expected()
    wanted = list(wanted) if isinstance(wanted, (tuple, list)) else [wanted]
    results = evaluate(name, arguments)
    assert len(results) == len(wanted)
    for result, want in zip(results, wanted, strict=True):
        assert result.shape == want.shape
        assert result.dtype == want.dtype
        torch.testing.assert_close(result, want, rtol=1e-5, atol=1e-6)


def test_every_operation_is_tested() -> None:
    apart = {"constexpr_affine_dequantize", "constexpr_lut_to_dense"}
    assert set(OPERATIONS) == {name for name, _arguments, _expected in CASES} | apart


@pytest.mark.parametrize("bits", [1, 2, 4, 6, 8])
def test_palettes_are_unpacked(bits: int) -> None:
    generator = np.random.default_rng(3)
    places = generator.integers(0, 2**bits, (5, 7))
    colours = generator.standard_normal(2**bits).astype(np.float32)
    stream = "".join(format(place, f"0{bits}b")[::-1] for place in places.flatten())
    stream += "0" * (-len(stream) % 8)
    packed = np.array([int(stream[at : at + 8][::-1], 2) for at in range(0, len(stream), 8)], np.uint8)
    arguments = {"indices": torch.from_numpy(packed), "lut": torch.from_numpy(colours), "shape": [5, 7]}
    np.testing.assert_array_equal(evaluate("constexpr_lut_to_dense", arguments)[0].numpy(), colours[places])


def test_int8_weights_are_scaled_by_channel() -> None:
    data = torch.tensor([[1, -2], [3, 4]], dtype=torch.int8)
    arguments = {
        "quantized_data": data,
        "zero_point": torch.tensor([1, 0]),
        "scale": torch.tensor([0.5, 2.0]),
        "axis": 0,
    }
    assert evaluate("constexpr_affine_dequantize", arguments)[0].tolist() == [[0.0, -1.5], [6.0, 8.0]]


def test_an_unknown_operation_is_named() -> None:
    with pytest.raises(UnknownOperation, match=r"'lstm'.*mil_ops\.py"):
        evaluate("lstm", {})
