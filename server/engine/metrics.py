"""The engine's Prometheus metrics, in a registry of the caller's: nothing global."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
SIZES = (1, 2, 4, 8, 16, 32, 64)


class EngineMetrics:
    """What the queue, the batches and the models do."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        registry = registry or CollectorRegistry()
        self.registry = registry
        self.waiting = Gauge("arcp_queue_length", "Pictures that wait for the device.", registry=registry)
        self.waiting_pixels = Gauge("arcp_queue_pixels", "Pixels of the photos that wait.", registry=registry)
        self.wait_seconds = Histogram(
            "arcp_queue_seconds", "Time in the queue.", ["model"], buckets=SECONDS, registry=registry
        )
        self.batch_size = Histogram("arcp_batch_size", "Pictures a batch.", ["model"], buckets=SIZES, registry=registry)
        self.device_seconds = Histogram(
            "arcp_batch_seconds", "Time of a batch on the device.", ["model"], buckets=SECONDS, registry=registry
        )
        self.refused = Counter(
            "arcp_queue_refused_total",
            "Pictures that were not cut: busy, deadline, gone, out_of_memory.",
            ["reason"],
            registry=registry,
        )
        self.halved = Counter(
            "arcp_batch_halved_total",
            "Batches that did not fit into the device's memory.",
            ["model"],
            registry=registry,
        )
        self.model_bytes = Gauge("arcp_model_bytes", "Bytes of a loaded model's weights.", ["model"], registry=registry)
        self.unloaded = Counter(
            "arcp_model_unloaded_total", "Models that made room for others.", ["model"], registry=registry
        )
        self.device = Info("arcp_device", "What the engine computes on.", registry=registry)
