"""Batches hold the pixels and classes of the cache, in the right order."""

from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from doctor_derma.data.cache import pixel_cache
from doctor_derma.data.manifest import Dataset, read_dataset
from doctor_derma.training.batches import Batch, ImageBatches, draw_capped
from project import recipe


@pytest.fixture(scope="module")
def dataset(lesions: Path) -> Dataset:
    return read_dataset(lesions / "data")


def test_validation_follows_the_manifest(dataset: Dataset) -> None:
    batches = list(ImageBatches(dataset, recipe(batch_size=4)).val_dataloader())
    rows = np.flatnonzero(dataset.table["split"] == "val")
    pixels = torch.cat([pixels for pixels, _ in batches])
    targets = torch.cat([targets for _, targets in batches])
    assert torch.equal(pixels, torch.from_numpy(pixel_cache(dataset, 32, 32)[rows]))
    assert targets.tolist() == dataset.targets(dataset.split("val"))
    assert pixels.dtype == torch.uint8
    assert targets.dtype == torch.int64


def test_training_shuffles_and_drops_what_fills_no_batch(dataset: Dataset) -> None:
    batches = ImageBatches(dataset, recipe(batch_size=16))
    torch.manual_seed(0)
    epochs = [list(batches.train_dataloader()) for _ in range(2)]
    cached = pixel_cache(dataset, 32, 32)
    rows = np.flatnonzero(dataset.table["split"] == "train")
    known = {cached[row].tobytes(): dataset.table["class"][row] for row in rows}
    orders = []
    for epoch in epochs:
        assert [len(pixels) for pixels, _ in epoch] == [16] * (len(rows) // 16)
        seen = [
            (image.numpy().tobytes(), dataset.classes[target])
            for pixels, targets in epoch
            for image, target in zip(pixels, targets, strict=True)
        ]
        assert all(known[image] == dx for image, dx in seen)
        assert len({image for image, _ in seen}) == len(seen)
        orders.append([image for image, _ in seen])
    assert orders[0] != orders[1]


def test_a_cap_shows_other_images_each_epoch(dataset: Dataset) -> None:
    cap = 4
    assert (dataset.split("train")["class"].value_counts() > cap).all()

    def drawn(epoch: int, rank: int = 0) -> list[bytes]:
        batches = ImageBatches(dataset, recipe(batch_size=512, class_cap=cap))
        trainer = SimpleNamespace(world_size=2, global_rank=rank, current_epoch=epoch)
        batches.trainer = cast(Any, trainer)
        [(pixels, targets)] = batches.train_dataloader()
        assert np.bincount(targets).tolist() == [cap] * len(dataset.classes)
        return sorted(image.numpy().tobytes() for image in pixels)

    epochs = [drawn(epoch) for epoch in range(3)]
    assert epochs[0] != epochs[1]
    assert all(len(set(images)) == len(images) for images in epochs)
    assert drawn(2, rank=1) == epochs[2]


@given(targets=st.lists(st.integers(0, 4), min_size=1), cap=st.integers(1, 9))
def test_classes_under_the_cap_are_shown_whole(targets: list[int], cap: int) -> None:
    drawn = draw_capped(np.array(targets), cap, np.random.default_rng(0))
    assert len(set(drawn)) == len(drawn)
    shown = np.bincount(np.array(targets)[drawn], minlength=5)
    assert shown.tolist() == np.minimum(np.bincount(targets, minlength=5), cap).tolist()


def test_a_set_smaller_than_a_batch_is_one_batch(dataset: Dataset) -> None:
    [(pixels, _)] = ImageBatches(dataset, recipe(batch_size=512)).train_dataloader()
    assert len(pixels) == len(dataset.split("train"))


def test_batches_are_copies_that_may_be_changed(dataset: Dataset) -> None:
    pixels, _ = next(iter(ImageBatches(dataset, recipe()).val_dataloader()))
    before = pixel_cache(dataset, 32, 32).copy()
    pixels.zero_()
    assert np.array_equal(pixel_cache(dataset, 32, 32), before)


def images_of(batches: Iterable[Batch]) -> list[bytes]:
    return [image.numpy().tobytes() for pixels, _ in batches for image in pixels]


@pytest.mark.parametrize("processes", [2, 3, 4])  # of which some don't divide the split
def test_processes_validate_every_image_once(processes: int, dataset: Dataset) -> None:
    alone = ImageBatches(dataset, recipe(batch_size=4))
    seen = []
    for rank in range(processes):
        batches = ImageBatches(dataset, recipe(batch_size=4))
        batches.trainer = cast(Any, SimpleNamespace(world_size=processes, global_rank=rank))
        seen += images_of(batches.val_dataloader())
    assert sorted(seen) == sorted(images_of(alone.val_dataloader()))


def test_a_share_smaller_than_a_batch_is_not_dropped(dataset: Dataset) -> None:
    images = len(dataset.split("train"))
    batches = ImageBatches(dataset, recipe(batch_size=images - 1))
    batches.trainer = cast(Any, SimpleNamespace(world_size=2, global_rank=0))
    assert not batches.train_dataloader().drop_last
    batches.trainer = cast(Any, SimpleNamespace(world_size=1, global_rank=0))
    assert batches.train_dataloader().drop_last
