"""What needs a CUDA device says so and is skipped without one."""

import warnings

import pytest
import torch

from tests.unit.model.conftest import bundle, bundle_folder, network

__all__ = ["bundle", "bundle_folder", "network"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "CUDA initialization")  # a driver that is too old: as good as no device
        usable = torch.cuda.is_available()
    if usable and torch.cuda.device_count():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device; this machine has none"))
