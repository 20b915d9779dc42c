"""What every network must prove. A test class of a network inherits ``NetworkTests`` and says its name and its facts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from server.networks.catalogue import NETWORKS, NetworkInfo
from tests.server.networks.formula import fill, formula_input

DATA = Path(__file__).parents[2] / "data" / "networks"
PROBABILITY_TOLERANCE = 1e-4  # absolute; tests/data/networks/README.md
LOGIT_TOLERANCE = 1e-4  # of the largest magnitude

Golden = dict[str, NDArray[Any]]


def official_layout(keys: str) -> dict[str, list[int]]:
    """Name -> shape of every tensor of the official checkpoint."""
    layout: dict[str, list[int]] = json.loads((DATA / f"{keys}.keys.json").read_text())
    return layout


def layout_of(network: nn.Module) -> dict[str, list[int]]:
    return {key: list(value.shape) for key, value in network.state_dict().items()}


def load_golden(name: str) -> Golden:
    with np.load(DATA / f"{name}.npz") as archive:
        return dict(archive)


def tensors_of(outputs: Any) -> list[Tensor]:
    """The tensors of nested tuples, lists and dicts, in order."""
    if isinstance(outputs, Tensor):
        return [outputs]
    children = outputs.values() if isinstance(outputs, dict) else outputs
    return [tensor for child in children for tensor in tensors_of(child)]


def sample(tensor: Tensor, count: int) -> Tensor:
    """The golden files' "flat64" and "flat256": evenly strided values of the flattened tensor."""
    flat = tensor.reshape(-1)
    return flat[:: max(1, flat.numel() // count)][:count]


def sums(tensor: Tensor) -> Tensor:
    """The golden files' "sum": [sum, sum of magnitudes] in float64."""
    exact = tensor.double()
    return torch.stack([exact.sum(), exact.abs().sum()])


def assert_probabilities(actual: Tensor, expected: NDArray[Any], what: str) -> None:
    assert tuple(actual.shape) == expected.shape, what
    worst = float(np.abs(actual.detach().numpy().astype(np.float64) - expected).max())
    assert worst <= PROBABILITY_TOLERANCE, f"{what}: off by {worst:.2e}"


def assert_logits(actual: Tensor, expected: NDArray[Any], what: str) -> None:
    assert tuple(actual.shape) == expected.shape, what
    worst = float(np.abs(actual.detach().numpy().astype(np.float64) - expected).max() / np.abs(expected).max())
    assert worst <= LOGIT_TOLERANCE, f"{what}: off by {worst:.2e} of the largest magnitude"


def record_outputs(network: nn.Module, names: dict[str, str]) -> tuple[dict[str, Tensor], list[Any]]:
    """Forward hooks that keep the output of submodule ``names[label]`` under ``label``; remove the handles when done."""
    kept: dict[str, Tensor] = {}

    def keeper(label: str) -> Any:
        return lambda module, inputs, output: kept.__setitem__(label, output.detach().clone())

    return kept, [network.get_submodule(path).register_forward_hook(keeper(label)) for label, path in names.items()]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small inputs run fastest on one thread, and results do not depend on the machine's core count."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class IdentityTests:
    """The network is the official one. Inherit, set ``name`` and the facts, and write ``check_golden``."""

    name: ClassVar[str]
    size: ClassVar[int] = 64
    divisor: ClassVar[int | None] = None  # input sides must be multiples of this; None: no such contract

    @property
    def info(self) -> NetworkInfo:
        return NETWORKS[self.name]

    @pytest.fixture(scope="class")
    @classmethod
    def golden(cls) -> Golden:
        return load_golden(NETWORKS[cls.name].keys)

    @pytest.fixture(scope="class")
    @classmethod
    def network(cls, golden: Golden) -> nn.Module:
        network = NETWORKS[cls.name].build()
        network.train()
        fill(network, float(golden["gain"]))
        return network.eval()  # after filling: some networks derive buffers when they switch to eval

    def batch(self, count: int = 1) -> Tensor:
        """(count, channels, size, size): formula inputs, each one mirrored or shifted, so they differ."""
        x = formula_input(self.size, self.info.channels)
        return torch.cat([torch.roll(x, 7 * index, dims=-1) for index in range(count)])

    def check_golden(self, network: nn.Module, golden: Golden) -> None:
        raise NotImplementedError

    def test_official_keys_and_shapes(self) -> None:
        with torch.device("meta"):
            ours = layout_of(self.info.build())
        official = official_layout(self.info.keys)
        assert set(ours) == set(official)
        assert {key: shape for key, shape in ours.items() if shape != official[key]} == {}

    def test_parameter_count(self) -> None:
        with torch.device("meta"):
            network = self.info.build()
        assert sum(parameter.numel() for parameter in network.parameters()) == self.info.parameters

    def test_golden_outputs(self, network: nn.Module, golden: Golden) -> None:
        with torch.inference_mode():
            self.check_golden(network, golden)

    def test_wrong_input_size_is_named(self, network: nn.Module) -> None:
        if self.divisor is None:
            height, width = self.size + 13, self.size + 6
            with torch.inference_mode():
                outputs = network(torch.zeros(1, self.info.channels, height, width))
            assert all(torch.isfinite(tensor).all() for tensor in tensors_of(outputs))
            return
        with pytest.raises(ValueError, match=f"multiples of {self.divisor}, not {self.size}x{self.size + 1}"):
            network(torch.zeros(1, self.info.channels, self.size, self.size + 1))


class NetworkTests(IdentityTests):
    """And it behaves: gradients, batches, reduced precision, export. Every test runs at ``size`` px to take seconds."""

    unused: ClassVar[tuple[str, ...]] = ()  # prefixes of official parameters that no output depends on
    bf16_mean_error: ClassVar[float] = 0.02  # of ``smooth_outputs``, after division by the largest magnitude (>= 1)

    def smooth_outputs(self, outputs: Any) -> list[Tensor]:
        """The outputs without those behind a hard decision (an argmax, a top-k), where rounding may flip a pixel."""
        return tensors_of(outputs)

    def test_gradients_reach_every_parameter(self, network: nn.Module) -> None:
        generator = torch.Generator().manual_seed(3)
        outputs = [output for output in tensors_of(network(self.batch())) if output.requires_grad]
        loss = torch.stack([(output * torch.rand(output.shape, generator=generator)).sum() for output in outputs]).sum()
        named = [(name, value) for name, value in network.named_parameters(remove_duplicate=False)]
        wanted = {id(value): value for name, value in named if not name.startswith(self.unused)}
        parameters = list(wanted.values())
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
        names = {id(value): name for name, value in named}
        missing = [
            names[id(parameter)]
            for parameter, gradient in zip(parameters, gradients, strict=True)
            if gradient is None or not torch.isfinite(gradient).all() or not gradient.abs().sum() > 0
        ]
        assert missing == []

    def test_batch_equals_single_pictures(self, network: nn.Module) -> None:
        x = self.batch(2)
        with torch.inference_mode():
            together = self.smooth_outputs(network(x))
            alone = [self.smooth_outputs(network(x[index : index + 1])) for index in range(2)]
        for index, output in enumerate(together):
            expected = torch.cat([alone[0][index], alone[1][index]])
            scale = max(1.0, float(expected.abs().max()))
            assert float((output - expected).abs().max()) <= 1e-5 * scale, f"output {index}"

    def test_bf16_is_close_to_fp32(self, network: nn.Module) -> None:
        x = self.batch()
        with torch.inference_mode():
            exact = self.smooth_outputs(network(x))
            with torch.autocast("cpu", torch.bfloat16):
                rounded = self.smooth_outputs(network(x))
        for index, (output, expected) in enumerate(zip(rounded, exact, strict=True)):
            scale = max(1.0, float(expected.abs().max()))
            error = float((output.float() - expected).abs().mean()) / scale
            assert error <= self.bf16_mean_error, f"output {index}: mean error {error:.4f}"

    def test_exports(self, network: nn.Module) -> None:
        """``torch.export`` succeeds with static shapes, plain aten operations and ranks that every runtime takes."""
        x = self.batch()
        with torch.inference_mode(), torch.no_grad():
            program = torch.export.export(network, (x,))
            exported = self.smooth_outputs(program.module()(x))
            eager = self.smooth_outputs(network(x))
        for output, expected in zip(exported, eager, strict=True):
            scale = max(1.0, float(expected.abs().max()))
            assert float((output - expected).abs().max()) <= 1e-5 * scale
        for node in program.graph.nodes:
            if node.op != "call_function":
                continue
            assert str(node.target).startswith(("aten.", "<built-in function getitem>")), node.target
            assert "adaptive" not in str(node.target), "pool by constant matrices: exporters refuse adaptive pooling"
            for value in tensors_of(node.meta["val"]) if isinstance(node.meta["val"], Tensor) else ():
                assert value.dim() <= 5, node
                assert all(isinstance(side, int) for side in value.shape), f"{node}: a shape that depends on the data"
