"""Predictions with the look of a real test split, made without a model."""

from pathlib import Path

import numpy as np
from PIL import Image

from doctor_derma.decisions import Costs, Rule, Rulebook
from doctor_derma.evaluation.predictions import Predictions

CLASSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
SHARES = (0.033, 0.051, 0.110, 0.012, 0.111, 0.669, 0.014)


def fake_predictions(
    images: int = 300,
    skill: float = 2.5,
    name: str = "eca_resnet18",
    seed: int = 0,
    model_seed: int = 1,
    classes: tuple[str, ...] = CLASSES,
    shares: tuple[float, ...] = SHARES,
) -> Predictions:
    """Draw imbalanced classes and lesions of 1 to 3 images from ``seed``, scores from
    ``model_seed``; a lesion's images share most of their noise."""
    cases = np.random.default_rng(seed)
    sizes = cases.choice([1, 2, 3], p=[0.6, 0.3, 0.1], size=images)
    lesion_of = np.repeat(np.arange(images), sizes)[:images]
    shares_array = np.array(shares) / np.sum(shares)
    labels = cases.choice(len(classes), p=shares_array, size=images)[lesion_of]
    hardness = cases.normal(size=(images, len(classes)))[lesion_of]
    own = np.random.default_rng(model_seed).normal(size=(images, len(classes)))
    logits = np.log(shares_array) * 0.6 + hardness + 0.7 * own
    logits[np.arange(images), labels] += skill
    odds = np.exp(1.3 * logits)
    probabilities = (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)
    return Predictions(
        name=name,
        classes=classes,
        images=np.array([f"ISIC_{index:07d}" for index in range(images)]),
        lesions=np.array([f"HAM_{index:07d}" for index in lesion_of]),
        paths=np.full(images, "", dtype=str),
        labels=labels.astype(np.int64),
        probabilities=probabilities.astype(np.float64),
        activation_maps=_blobs(own, logits),
    )


def rulebook(default: Rule, threshold: float | None = None, costs: Costs | None = None) -> Rulebook:
    """Decide for fake predictions, as if their probabilities counted the shares in full."""
    return Rulebook(CLASSES, SHARES, 1.0, 1.0, default, threshold, costs)


def write_pictures(folder: Path, count: int, seed: int = 0) -> list[Path]:
    """Write ``count`` small pictures of a dark spot on skin."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:45, 0:60]
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for index in range(count):
        y, x = generator.uniform(15, 30), generator.uniform(20, 40)
        spot = np.exp(-(((rows - y) / 9) ** 2 + ((columns - x) / 11) ** 2))[..., None]
        pixels = np.array([226, 184, 160]) * (1 - spot) + np.array([92, 52, 40]) * spot
        paths.append(folder / f"ISIC_{index:07d}.jpg")
        Image.fromarray(pixels.astype(np.uint8)).save(paths[-1])
    return paths


def _blobs(noise: np.ndarray, logits: np.ndarray) -> np.ndarray:
    rows, columns = np.mgrid[0:4, 0:4]
    spread = (rows - 1.5 - 0.5 * noise[:, :1, None]) ** 2 + (
        columns - 1.5 - 0.5 * noise[:, 1:2, None]
    ) ** 2
    blob = np.exp(-spread / 2)
    return (blob[:, None] * logits[:, :, None, None]).astype(np.float32)
