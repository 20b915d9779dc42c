"""What there is to compute on, asked of the CUDA driver itself: no torch, no context on the device."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from server.errors import DeviceUnavailable


@dataclass(frozen=True)
class Gpu:
    """``memory`` in bytes."""

    index: int
    name: str
    memory: int


@cache
def gpus() -> tuple[Gpu, ...]:
    """The CUDA devices that the driver shows to this process; empty without a driver."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return ()
    count = ctypes.c_int()
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return ()
    return tuple(_gpu(driver, index) for index in range(count.value))


def require_gpu() -> None:
    """Raises ``DeviceUnavailable`` without a CUDA device."""
    if not gpus():
        raise DeviceUnavailable(
            "--require-gpu was given, but there is no CUDA device: check the driver (nvidia-smi), or leave the option out."
        )


def uses_gpu(device: str) -> bool:
    """Whether a model that is opened on ``device`` (auto, cpu, cuda, cuda:N) would take a GPU."""
    return device != "cpu" and bool(gpus())


def report(device: str) -> dict[str, str]:
    """The device in words: for the log, for Prometheus and for a person who asks why it is slow."""
    found = gpus()
    names = [f"{gpu.name} ({gpu.memory / 2**30:.0f} GiB)" for gpu in found]
    return {
        "device": "cuda" if uses_gpu(device) else "cpu",
        "gpu": ", ".join(names) or "none",
        "cpu": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        **{name: _version(name) for name in ("onnxruntime", "torch", "openvino")},
    }


def _gpu(driver: ctypes.CDLL, index: int) -> Gpu:
    device, memory, name = ctypes.c_int(), ctypes.c_size_t(), ctypes.create_string_buffer(256)
    driver.cuDeviceGet(ctypes.byref(device), index)
    driver.cuDeviceGetName(name, len(name), device)
    driver.cuDeviceTotalMem_v2(ctypes.byref(memory), device)
    return Gpu(index, name.value.decode(errors="replace"), memory.value)


def _version(package: str) -> str:
    for name in (package, f"{package}-gpu"):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return "not installed"
