"""MIL operations in torch, by their name in the specification. Arguments have the specification's names.

Tensors are float32 or float64, integer or boolean; scalars, strings and flags are Python's. ``tests/export/test_mil.py`` holds each
against torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

Value = Any
"""A tensor, a number, a string or a list of them."""
OPERATIONS: dict[str, Callable[..., Value]] = {}


def operation(*names: str) -> Callable[[Callable[..., Value]], Callable[..., Value]]:
    def register(function: Callable[..., Value]) -> Callable[..., Value]:
        for name in names:
            OPERATIONS[name] = function
        return function

    return register


def _ints(value: Any) -> list[int]:
    if isinstance(value, Tensor):
        return [int(item) for item in value.flatten()]
    return [int(value)] if isinstance(value, (int, float)) else [int(item) for item in value]


def _tensor(value: Any) -> Tensor:
    return value if isinstance(value, Tensor) else torch.tensor(value)


def _elementwise(name: str, function: Callable[..., Tensor], count: int = 1) -> None:
    if count == 1:
        OPERATIONS[name] = lambda x: function(_tensor(x))
    else:
        OPERATIONS[name] = lambda x, y: function(_tensor(x), _tensor(y))


_UNARY: dict[str, Callable[..., Tensor]] = {
    "abs": torch.abs,
    "ceil": torch.ceil,
    "cos": torch.cos,
    "erf": torch.erf,
    "exp": torch.exp,
    "floor": torch.floor,
    "identity": torch.clone,
    "logical_not": torch.logical_not,
    "relu": torch.relu,
    "relu6": F.relu6,
    "round": torch.round,
    "sigmoid": torch.sigmoid,
    "sign": torch.sign,
    "silu": F.silu,
    "sin": torch.sin,
    "softplus": F.softplus,
    "sqrt": torch.sqrt,
    "square": torch.square,
    "tanh": torch.tanh,
}
for _name, _function in _UNARY.items():
    _elementwise(_name, _function)

_BINARY: dict[str, Callable[..., Tensor]] = {
    "add": torch.add,
    "equal": torch.eq,
    "floor_div": lambda x, y: torch.div(x, y, rounding_mode="floor"),
    "greater": torch.gt,
    "greater_equal": torch.ge,
    "less": torch.lt,
    "less_equal": torch.le,
    "logical_and": torch.logical_and,
    "logical_or": torch.logical_or,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "mod": torch.remainder,
    "mul": torch.mul,
    "not_equal": torch.ne,
    "pow": torch.pow,
    "real_div": torch.true_divide,
    "sub": torch.sub,
}
for _name, _function in _BINARY.items():
    _elementwise(_name, _function, 2)


@operation("log")
def _log(x: Tensor, epsilon: float = 1e-45) -> Tensor:
    return torch.log(x + epsilon)


@operation("rsqrt")
def _rsqrt(x: Tensor, epsilon: float = 1e-12) -> Tensor:
    return torch.rsqrt(x + epsilon)


@operation("inverse")
def _inverse(x: Tensor, epsilon: float = 1e-4) -> Tensor:
    return 1 / (x + epsilon)


@operation("clip")
def _clip(x: Tensor, alpha: float, beta: float) -> Tensor:
    return x.clamp(alpha, beta)


@operation("sigmoid_hard")
def _sigmoid_hard(x: Tensor, alpha: float = 0.2, beta: float = 0.5) -> Tensor:
    return (alpha * x + beta).clamp(0, 1)


@operation("thresholded_relu")
def _thresholded_relu(x: Tensor, alpha: float = 1.0) -> Tensor:
    return torch.where(x >= alpha, x, 0)


@operation("leaky_relu")
def _leaky_relu(x: Tensor, alpha: float = 0.01) -> Tensor:
    return F.leaky_relu(x, alpha)


@operation("gelu")
def _gelu(x: Tensor, mode: str = "EXACT") -> Tensor:
    if mode == "SIGMOID_APPROXIMATION":
        return x * torch.sigmoid(1.702 * x)
    return F.gelu(x, approximate="tanh" if mode == "TANH_APPROXIMATION" else "none")


@operation("softmax")
def _softmax(x: Tensor, axis: int = -1) -> Tensor:
    return x.softmax(axis)


@operation("cast")
def _cast(x: Value, dtype: str) -> Tensor:
    kinds = {"fp32": torch.float32, "fp16": torch.float32, "int32": torch.int32, "bool": torch.bool}
    kinds |= {"int16": torch.int16, "uint16": torch.int32, "int8": torch.int8, "uint8": torch.uint8}
    result = _tensor(x).to(kinds[dtype])
    return result.half().float() if dtype == "fp16" else result


@operation("select")
def _select(cond: Value, a: Value, b: Value) -> Tensor:
    return torch.where(_tensor(cond), _tensor(a), _tensor(b))


# Convolutions and products


def _padded(x: Tensor, pad_type: str, pad: Any, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int],
            value: float = 0.0) -> Tensor:  # fmt: skip
    """With the zeros that MIL's padding types mean, in torch's order (last dimension first)."""
    if pad_type == "valid":
        return x
    amounts: list[int] = []
    for axis, (size, stride, dilation) in reversed(list(enumerate(zip(kernel, strides, dilations, strict=True)))):
        if pad_type == "custom":
            before, after = _ints(pad)[2 * axis : 2 * axis + 2]
        else:
            length = x.shape[2 + axis]
            total = max(0, (math.ceil(length / stride) - 1) * stride + (size - 1) * dilation + 1 - length)
            before, after = total // 2, total - total // 2
            if pad_type == "same_lower":
                before, after = after, before
        amounts += [before, after]
    return F.pad(x, amounts, value=value) if any(amounts) else x


@operation("conv")
def _conv(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, strides: Any = None, pad_type: str = "valid", pad: Any = None,
    dilations: Any = None, groups: int = 1,
) -> Tensor:  # fmt: skip
    spatial = x.ndim - 2
    stride = _ints(strides) if strides is not None else [1] * spatial
    dilation = _ints(dilations) if dilations is not None else [1] * spatial
    x = _padded(x, pad_type, pad, weight.shape[2:], stride, dilation)
    function: Any = F.conv1d if spatial == 1 else F.conv2d
    result: Tensor = function(x, weight.to(x.dtype), bias, stride, 0, dilation, int(groups))
    return result


@operation("conv_transpose")
def _conv_transpose(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, strides: Any = None, pad_type: str = "valid", pad: Any = None,
    dilations: Any = None, groups: int = 1, output_shape: Any = None,
) -> Tensor:  # fmt: skip
    stride = _ints(strides) if strides is not None else [1, 1]
    dilation = _ints(dilations) if dilations is not None else [1, 1]
    result = F.conv_transpose2d(x, weight.to(x.dtype), bias, stride, 0, 0, int(groups), dilation)
    if pad_type == "custom":
        top, bottom, left, right = _ints(pad)
        result = result[:, :, top : result.shape[2] - bottom, left : result.shape[3] - right]
    elif pad_type != "valid":
        raise ValueError(f"conv_transpose with pad_type {pad_type} is not evaluated")
    return result


@operation("linear")
def _linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return F.linear(x, weight.to(x.dtype), bias)


@operation("matmul")
def _matmul(x: Tensor, y: Tensor, transpose_x: bool = False, transpose_y: bool = False) -> Tensor:
    x = x.transpose(-1, -2) if transpose_x else x
    y = y.transpose(-1, -2) if transpose_y else y
    return torch.matmul(x, y)


# Normalisation


@operation("batch_norm")
def _batch_norm(
    x: Tensor, mean: Tensor, variance: Tensor, gamma: Tensor | None = None, beta: Tensor | None = None,
    epsilon: float = 1e-5,
) -> Tensor:  # fmt: skip
    return F.batch_norm(x, mean, variance, gamma, beta, False, 0.0, epsilon)


@operation("layer_norm")
def _layer_norm(
    x: Tensor, axes: Any, gamma: Tensor | None = None, beta: Tensor | None = None, epsilon: float = 1e-5
) -> Tensor:
    dims = [axis % x.ndim for axis in _ints(axes)]
    mean = x.mean(dims, keepdim=True)
    variance = (x - mean).square().mean(dims, keepdim=True)
    result = (x - mean) * torch.rsqrt(variance + epsilon)
    shape = [x.shape[axis] if axis in dims else 1 for axis in range(x.ndim)]
    if gamma is not None:
        result = result * gamma.reshape(shape)
    return result + beta.reshape(shape) if beta is not None else result


@operation("instance_norm")
def _instance_norm(x: Tensor, gamma: Tensor | None = None, beta: Tensor | None = None, epsilon: float = 1e-5) -> Tensor:
    return F.instance_norm(x, weight=gamma, bias=beta, eps=epsilon)


# Pooling and resampling


@operation("max_pool")
def _max_pool(
    x: Tensor, kernel_sizes: Any, strides: Any = None, pad_type: str = "valid", pad: Any = None, ceil_mode: bool = False
) -> Tensor:
    kernel = _ints(kernel_sizes)
    stride = _ints(strides) if strides is not None else [1] * len(kernel)
    x = _padded(x, pad_type, pad, kernel, stride, [1] * len(kernel), -math.inf)
    return F.max_pool2d(x, kernel, stride, ceil_mode=ceil_mode)


@operation("avg_pool")
def _avg_pool(
    x: Tensor, kernel_sizes: Any, strides: Any = None, pad_type: str = "valid", pad: Any = None,
    exclude_padding_from_average: bool = False, ceil_mode: bool = False,
) -> Tensor:  # fmt: skip
    kernel = _ints(kernel_sizes)
    stride = _ints(strides) if strides is not None else [1] * len(kernel)
    ones = [1] * len(kernel)
    summed = F.avg_pool2d(_padded(x, pad_type, pad, kernel, stride, ones), kernel, stride, ceil_mode=ceil_mode)
    if not exclude_padding_from_average:
        return summed
    inside = _padded(torch.ones_like(x), pad_type, pad, kernel, stride, ones)
    return summed / F.avg_pool2d(inside, kernel, stride, ceil_mode=ceil_mode)


def _resized(x: Tensor, height: int, width: int, align_corners: bool) -> Tensor:
    return F.interpolate(x, (height, width), mode="bilinear", align_corners=align_corners)


@operation("upsample_bilinear")
def _upsample_bilinear(
    x: Tensor, scale_factor_height: float = 1, scale_factor_width: float = 1, align_corners: bool = True,
    half_pixel_centers: bool | None = None,
) -> Tensor:  # fmt: skip
    height, width = int(x.shape[2] * scale_factor_height), int(x.shape[3] * scale_factor_width)
    if half_pixel_centers is not None and half_pixel_centers == align_corners:
        raise ValueError("upsample_bilinear with equal align_corners and half_pixel_centers is not evaluated")
    return _resized(x, height, width, align_corners)


@operation("resize_bilinear")
def _resize_bilinear(
    x: Tensor, target_size_height: int = 1, target_size_width: int = 1, sampling_mode: str = "DEFAULT"
) -> Tensor:
    modes = {"STRICT_ALIGN_CORNERS": True, "ALIGN_CORNERS": True, "UNALIGN_CORNERS": False}
    if sampling_mode not in modes:
        raise ValueError(f"resize_bilinear with sampling_mode {sampling_mode} is not evaluated")
    return _resized(x, int(target_size_height), int(target_size_width), modes[sampling_mode])


@operation("upsample_nearest_neighbor")
def _upsample_nearest(x: Tensor, scale_factor_height: float = 1, scale_factor_width: float = 1) -> Tensor:
    size = (int(x.shape[2] * scale_factor_height), int(x.shape[3] * scale_factor_width))
    return F.interpolate(x, size, mode="nearest")


@operation("resample")
def _resample(
    x: Tensor, coordinates: Tensor, sampling_mode: str, padding_mode: str, padding_value: float, coordinates_mode: str,
    align_corners: bool,
) -> Tensor:  # fmt: skip
    grid = coordinates.to(x.dtype)
    if coordinates_mode == "normalized_zero_to_one":
        grid = grid * 2 - 1
    elif coordinates_mode == "unnormalized":
        size = torch.tensor([x.shape[3], x.shape[2]], dtype=x.dtype)
        grid = 2 * grid / (size - 1) - 1 if align_corners else (2 * grid + 1) / size - 1
    padding = {"constant": "zeros", "border": "border"}.get(padding_mode)
    if padding is None or (padding == "zeros" and padding_value != 0):
        raise ValueError(f"resample with padding {padding_mode} of {padding_value} is not evaluated")
    return F.grid_sample(x, grid, sampling_mode, padding, align_corners)


# Reductions and selections


def _reduction(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def reduce(x: Tensor, axes: Any = None, keep_dims: bool = False) -> Tensor:
        return function(x, _ints(axes) if axes is not None else list(range(x.ndim)), keepdim=keep_dims)

    return reduce


_REDUCTIONS: dict[str, Callable[..., Tensor]] = {
    "reduce_max": torch.amax,
    "reduce_mean": torch.mean,
    "reduce_min": torch.amin,
    "reduce_sum": torch.sum,
    "reduce_l2_norm": lambda x, axes, keepdim: x.square().sum(axes, keepdim=keepdim).sqrt(),
}
for _name, _function in _REDUCTIONS.items():
    OPERATIONS[_name] = _reduction(_function)


@operation("reduce_argmax")
def _argmax(x: Tensor, axis: int = -1, keep_dims: bool = True, output_dtype: str = "int32") -> Tensor:
    return x.argmax(axis, keepdim=keep_dims).int()


@operation("topk")
def _topk(
    x: Tensor, k: int = 1, axis: int = -1, ascending: bool = False, sort: bool = True, return_indices: bool = True,
    output_indices_dtype: str = "int32",
) -> Value:  # fmt: skip
    values, indices = x.topk(int(k), axis, largest=not ascending, sorted=True)
    return (values, indices.int()) if return_indices else values


@operation("gather_along_axis")
def _gather_along_axis(x: Tensor, indices: Tensor, axis: int = 0, validate_indices: bool = False) -> Tensor:
    return x.gather(axis, indices.long())


@operation("gather")
def _gather(x: Tensor, indices: Value, axis: int = 0, batch_dims: int = 0, validate_indices: bool = False) -> Tensor:
    if batch_dims:
        raise ValueError("gather with batch_dims is not evaluated")
    index = _tensor(indices).long()
    shape = [*x.shape[:axis], *index.shape, *x.shape[axis % x.ndim + 1 :]]
    return x.index_select(axis, index.reshape(-1) % x.shape[axis]).reshape(shape)


# Shapes


@operation("concat")
def _concat(values: list[Tensor], axis: int, interleave: bool = False) -> Tensor:
    tensors = [value.reshape(1) if value.ndim == 0 else value for value in map(_tensor, values)]
    if interleave:
        return torch.stack(tensors, axis + 1 if axis >= 0 else axis).flatten(
            axis % tensors[0].ndim, axis % tensors[0].ndim + 1
        )
    return torch.cat(tensors, axis)


@operation("stack")
def _stack(values: list[Tensor], axis: int = 0) -> Tensor:
    return torch.stack([_tensor(value) for value in values], axis)


@operation("split")
def _split(x: Tensor, axis: int, num_splits: int | None = None, split_sizes: Any = None) -> tuple[Tensor, ...]:
    if split_sizes is not None:
        return torch.split(x, _ints(split_sizes), axis)
    return x.chunk(int(num_splits or 1), axis)


@operation("reshape")
def _reshape(x: Tensor, shape: Any) -> Tensor:
    wanted = _ints(shape)
    return x.reshape([x.shape[index] if side == 0 else side for index, side in enumerate(wanted)])


@operation("transpose")
def _transpose(x: Tensor, perm: Any) -> Tensor:
    return x.permute(_ints(perm))


@operation("expand_dims")
def _expand_dims(x: Tensor, axes: Any) -> Tensor:
    x = _tensor(x)
    for axis in sorted(axis % (x.ndim + len(_ints(axes))) for axis in _ints(axes)):
        x = x.unsqueeze(axis)
    return x


@operation("squeeze")
def _squeeze(x: Tensor, axes: Any = None) -> Tensor:
    return x.squeeze() if axes is None else x.squeeze(tuple(_ints(axes)))


@operation("tile")
def _tile(x: Tensor, reps: Any) -> Tensor:
    return x.repeat(_ints(reps))


@operation("pad")
def _pad(x: Tensor, pad: Any, mode: str = "constant", constant_val: float = 0.0) -> Tensor:
    amounts = _ints(pad)
    ordered = [amount for index in range(len(amounts) - 2, -1, -2) for amount in amounts[index : index + 2]]
    if mode == "constant":
        return F.pad(x, ordered, value=float(constant_val))
    while ordered[-2:] == [0, 0]:
        ordered = ordered[:-2]
    return F.pad(x, ordered, mode="replicate" if mode == "replicate" else "reflect")


def _slices(
    x: Tensor, begin: list[int], end: list[int], stride: list[int], begin_mask: list[int], end_mask: list[int]
) -> Tensor:
    for axis in range(len(begin)):
        length, step = x.shape[axis], stride[axis]
        first, last = begin[axis], end[axis]
        if step < 0:
            raise ValueError("slice_by_index with a negative stride is not evaluated")
        x = x.narrow(axis, 0, length)[
            tuple(
                [slice(None)] * axis
                + [slice(None if begin_mask[axis] else first, None if end_mask[axis] else last, step)]
            )
        ]
    return x


@operation("slice_by_index")
def _slice_by_index(
    x: Tensor, begin: Any, end: Any, stride: Any = None, begin_mask: Any = None, end_mask: Any = None,
    squeeze_mask: Any = None,
) -> Tensor:  # fmt: skip
    first, last, count = _ints(begin), _ints(end), x.ndim
    squeezed = _ints(squeeze_mask) if squeeze_mask is not None else [0] * count
    opens = _ints(begin_mask) if begin_mask is not None else [0] * count
    closes = _ints(end_mask) if end_mask is not None else [0] * count
    steps = _ints(stride) if stride is not None else [1] * count
    for axis in range(count):
        if squeezed[axis]:  # one element, whatever ``end`` says
            place = 0 if opens[axis] else first[axis] % x.shape[axis]
            first[axis], last[axis], opens[axis], closes[axis] = place, place + 1, 0, 0
    result = _slices(x, first, last, steps, opens, closes)
    return result.squeeze(tuple(axis for axis in range(count) if squeezed[axis]))


@operation("slice_by_size")
def _slice_by_size(x: Tensor, begin: Any, size: Any) -> Tensor:
    for axis, (first, length) in enumerate(zip(_ints(begin), _ints(size), strict=True)):
        x = x.narrow(axis, first, x.shape[axis] - first if length == -1 else length)
    return x


@operation("fill")
def _fill(shape: Any, value: Value = 0.0) -> Tensor:
    return torch.full(_ints(shape), value)


@operation("fill_like")
def _fill_like(ref_tensor: Tensor, value: Value = 0.0) -> Tensor:
    return torch.full(list(ref_tensor.shape), value)


@operation("shape")
def _shape(x: Tensor) -> Tensor:
    return torch.tensor(list(x.shape), dtype=torch.int32)


@operation("range_1d")
def _range_1d(start: Value, end: Value, step: Value) -> Tensor:
    return torch.arange(start, end, step)


# Compressed weights


@operation("constexpr_cast")
def _constexpr_cast(source_val: Tensor, output_dtype: str) -> Tensor:
    return source_val.float()


@operation("constexpr_affine_dequantize")
def _dequantize(quantized_data: Tensor, zero_point: Value, scale: Value, axis: int) -> Tensor:
    shape = [-1 if index == axis else 1 for index in range(quantized_data.ndim)]

    def along(value: Value) -> Tensor:
        tensor = _tensor(value).float()
        return tensor.reshape(shape) if tensor.ndim else tensor

    return along(scale) * (quantized_data.float() - along(zero_point))


@operation("constexpr_lut_to_dense")
def _lut_to_dense(indices: Tensor, lut: Tensor, shape: Any) -> Tensor:
    """Indices of log2(len(lut)) bits lie packed in bytes, the lowest bits first."""
    sides = _ints(shape)
    width, count = int(math.log2(lut.numel())), math.prod(sides)
    bits = np.unpackbits(indices.numpy().astype(np.uint8), bitorder="little")[: count * width].reshape(count, width)
    places = (bits.astype(np.int64) << np.arange(width)).sum(1)
    return lut.float()[torch.from_numpy(places)].reshape(sides)
