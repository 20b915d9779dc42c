"""``torch.export`` of these variants is proven with the slow tests; each time, that of a smaller network of their kind is."""

from __future__ import annotations

import pytest

VARIANTS = {
    "TestGEMBase",
    "TestGFMR34FT",
    "TestGFMR34BT",
    "TestGFMR342bTT",
    "TestGFMD121TT",
    "TestMeticulousNetL",
    "TestMeticulousNetH",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        test_class = getattr(item, "cls", None)
        if test_class is not None and test_class.__name__ in VARIANTS and "exports" in item.name:
            item.add_marker(pytest.mark.slow)
