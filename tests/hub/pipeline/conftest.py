"""Fixtures of the pipeline's tests."""

from collections.abc import Callable

import pytest

from device_sdk.wire.topics import ROOT
from hub.pipeline.directory import Directory
from tests.hub.pipeline.frame_bench import Bench, gate_arrays, publish, topic_of


@pytest.fixture
def bench() -> Bench:
    return Bench(Directory.build(1, gate_arrays(), ROOT))


@pytest.fixture
def message() -> Callable[[int, str, bytes], bytes]:
    return lambda slot, channel, payload: publish(topic_of(slot, channel), payload)
