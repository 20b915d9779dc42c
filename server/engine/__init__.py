"""Between HTTP and the models: a bounded queue, micro-batches, models within a memory budget, metrics."""

from server.engine.batching import Batcher, Job
from server.engine.client import answering, client_gone
from server.engine.device import gpus, report, require_gpu
from server.engine.engine import Engine, EngineOptions, QueuedSegmenter, running, stages_of
from server.engine.metrics import EngineMetrics
from server.engine.shelf import Shelf

__all__ = [
    "Batcher",
    "Engine",
    "EngineMetrics",
    "EngineOptions",
    "Job",
    "QueuedSegmenter",
    "Shelf",
    "answering",
    "client_gone",
    "gpus",
    "report",
    "require_gpu",
    "running",
    "stages_of",
]
