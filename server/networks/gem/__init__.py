"""GEM (Hao et al., glass segmentor on SAM and MobileSAM): the encoder, a simple feature pyramid and a query head."""

from __future__ import annotations

from server.networks.gem.model import GEM, Prediction, gem_base, gem_tiny, semantic_map

__all__ = ["GEM", "Prediction", "gem_base", "gem_tiny", "semantic_map"]
