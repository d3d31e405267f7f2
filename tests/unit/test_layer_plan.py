"""Which layers go to which devices: with devices that exist on paper only."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llama_ffi.errors import InvalidArgumentError
from llama_ffi.layer_plan import LayerPlan, Room, measured, most_layers, of_headers, spread, with_layers
from llama_ffi.memory_estimate import LayerMemory, MemoryEstimate
from llama_ffi.memory_use import MemoryBreakdown, MemoryUse

MB = 2**20


def estimate(
    n_layer: int = 10, layer: int = 90 * MB, kv: int = 10 * MB, compute: int = 50 * MB
) -> MemoryEstimate:
    return MemoryEstimate(
        weights=n_layer * layer + 300 * MB,
        context=n_layer * kv,
        compute=compute,
        layers=(LayerMemory(layer, kv),) * n_layer,
        input=100 * MB,
        output=200 * MB,
        output_copy=0,
        arch="llama",
        measured=True,
    )


def plan(
    free: list[int], margin: int | None = 0, split: list[float] | None = None, **sizes: int
) -> list[int]:
    """Return the layers of each device."""
    rooms = [Room(f"GPU{index}", each) for index, each in enumerate(free)]
    found = spread(estimate(**sizes), rooms, split, margin)
    assert found.n_gpu_layers == sum(each.layers for each in found.devices)
    assert found.n_layers == sizes.get("n_layer", 10) + 1
    return [each.layers for each in found.devices]


def test_all_fit_into_one() -> None:
    assert plan([2000 * MB]) == [11]


def test_as_many_as_fit() -> None:
    # the output has 200, each layer 100, computing takes 50, and a tenth is added
    assert plan([1100 * MB]) == [8]  # 1.1 * (50 + 200 + 7 * 100) = 1045
    assert plan([1045 * MB]) == [8]
    assert plan([1044 * MB]) == [7]
    assert plan([275 * MB]) == [1]
    assert plan([274 * MB]) == [0]


def test_without_devices() -> None:
    assert plan([]) == []
    found = spread(estimate(), [])
    assert found.n_gpu_layers == 0 and found.host == estimate().total


def test_margin() -> None:
    assert plan([1045 * MB], margin=100 * MB) == [7]
    assert plan([1045 * MB], margin=None) == [7], "a tenth of a small device"
    assert plan([10**6 * MB], margin=None) == [11]
    with pytest.raises(InvalidArgumentError, match="margin"):
        of_headers([], {}, {}, [], None, -1)


def test_two_devices_share_by_free_memory() -> None:
    assert plan([1000 * MB, 1000 * MB]) == [6, 5]
    assert plan([3000 * MB, 1000 * MB]) == [9, 2]


def test_two_devices_share_as_told() -> None:
    assert plan([3000 * MB, 3000 * MB], split=[1, 3]) == [3, 8]
    assert plan([3000 * MB, 3000 * MB], split=[0, 1]) == [0, 11]
    assert plan([3000 * MB, 10 * MB], split=[1, 0]) == [11, 0]


def test_one_small_device_holds_the_others_back() -> None:
    """llama.cpp gives each its share, so the share of the smallest must fit."""
    assert plan([5000 * MB, 400 * MB], split=[1, 1]) == [3, 2]


def test_tied_embeddings_are_copied() -> None:
    tied = estimate()
    tied = MemoryEstimate(**{**vars(tied), "output": 0, "output_copy": 600 * MB})
    assert spread(tied, [Room("GPU0", 700 * MB)], None, 0).n_gpu_layers == 0
    assert spread(tied, [Room("GPU0", 720 * MB)], None, 0).n_gpu_layers == 1


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    free=st.lists(st.integers(0, 3000 * MB), min_size=1, max_size=4),
    layers=st.lists(st.integers(0, 300 * MB), min_size=1, max_size=40),
    compute=st.integers(0, 300 * MB),
    margin=st.one_of(st.none(), st.integers(0, 500 * MB)),
)
def test_what_is_given_fits(free: list[int], layers: list[int], compute: int, margin: int | None) -> None:
    guess = MemoryEstimate(
        *(sum(layers), 0, compute, tuple(LayerMemory(each, 0) for each in layers)),
        *(0, 0, 0, "llama", True),
    )
    rooms = [Room(str(index), each) for index, each in enumerate(free)]
    found = spread(guess, rooms, None, margin)
    given_layers = 0
    for share, room in zip(found.devices, rooms, strict=True):
        assert share.name == room.name and share.free == room.free
        assert share.needed * 1.1 <= room.free + 1 or not share.needed
        assert share.needed >= (compute if share.layers else 0)
        given_layers += share.layers
    assert given_layers == found.n_gpu_layers <= found.n_layers == len(layers) + 1
    assert str(found).count("\n") == len(rooms)


def test_more_memory_never_means_fewer_layers() -> None:
    counts = [plan([free * MB])[0] for free in range(0, 1600, 7)]
    assert all(less <= more for less, more in pairwise(counts))
    assert counts[0] == 0 and counts[-1] == 11


def breakdown(device: int, host: int) -> MemoryBreakdown:
    """Return what a GPU takes, with memory of the host that it shares, and the host's own."""
    return MemoryBreakdown(
        (
            MemoryUse("GPU0", "GPU0", False, device, 0, 0),
            MemoryUse("GPU0_Host", "GPU0", True, 1, 0, host),
            MemoryUse("CPU", None, True, 0, 7, 0),
        )
    )


def test_a_measured_plan() -> None:
    plan = with_layers(estimate(), [Room("GPU0", 1000 * MB), Room("GPU1", 1000 * MB)], None, 4)
    found = measured(plan, breakdown(300 * MB, 20))
    assert found.measured and not plan.measured
    assert [each.needed for each in found.devices] == [300 * MB, 0] and found.host == 28
    assert [each.layers for each in found.devices] == [each.layers for each in plan.devices] == [2, 2]


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    n_layer=st.integers(1, 100),
    guess=st.integers(0, 110 * 100),
    free=st.integers(0, 110 * 100),
)
def test_a_search_by_measure_finds_the_most(n_layer: int, guess: int, free: int) -> None:
    """Wherever it begins, and without trying each number of layers: each is a load."""
    thought = estimate(n_layer, layer=100 * MB, kv=0, compute=0)
    first = spread(thought, [Room("GPU0", guess * MB)], None, 0)
    asked = []

    def ask(n: int) -> LayerPlan:
        asked.append(n)
        return measured(
            with_layers(thought, [Room("GPU0", free * MB)], None, n), breakdown(n * 100 * MB + 50 * MB, 0)
        )

    best = most_layers(first, ask, 0)
    expected = min(max(0, (free - 50) // 100), n_layer + 1)
    assert (best.n_gpu_layers if best else 0) == expected
    assert len(set(asked)) == len(asked) <= 2 + 2 * (n_layer + 1).bit_length()
    if first.n_gpu_layers == expected == n_layer + 1:
        assert len(asked) == 1
