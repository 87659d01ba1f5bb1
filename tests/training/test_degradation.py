"""Blur, noise and JPEG: held against Pillow's, and what they leave alone."""

import io

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from doctor_derma.training import artefacts as degradation
from doctor_derma.training.artefacts import add_noise, blur, compress


def picture(seed: int = 0) -> np.ndarray:
    """A smooth picture with an edge, uint8 (72, 96, 3)."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(60, 200, (9, 12, 3), dtype=np.uint8))
    pixels = np.array(coarse.resize((96, 72), Image.Resampling.BICUBIC))
    pixels[20:50, 30:60] = (90, 40, 30)
    return pixels


def as_images(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1).float()[None] / 255


def as_pixels(images: torch.Tensor) -> np.ndarray:
    return (images[0].permute(1, 2, 0) * 255).numpy()


@pytest.mark.parametrize("quality", [10, 30, 70, 90])
def test_compression_does_what_jpeg_does(quality: int, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = np.log(quality / 5) / np.log(18)
    monkeypatch.setattr(degradation, "uniform", lambda n, low, high: torch.full((n,), drawn))
    pixels = picture()
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, "JPEG", quality=quality, subsampling=0)
    expected = np.array(Image.open(encoded)).astype(float)
    found = as_pixels(compress(as_images(pixels)))
    assert np.abs(found - expected).mean() < 1.5
    if quality <= 30:  # and that is not nothing
        assert np.abs(expected - pixels).mean() > 2


def test_compression_takes_sizes_that_are_no_whole_number_of_blocks() -> None:
    images = as_images(picture())[:, :, :61, :83]
    assert compress(images).shape == images.shape


def test_blur_is_a_gaussian(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(degradation, "uniform", lambda n, low, high: torch.full((n,), float(high)))
    pixels = picture()
    sigma = 0.03 * 72 + 0.2
    expected = np.array(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(sigma)))
    found = as_pixels(blur(as_images(pixels)))
    inside = np.s_[8:-8, 8:-8]
    assert np.abs(found - expected)[inside].mean() < 1.5
    assert np.abs(found - pixels)[inside].mean() > 4


def test_blur_keeps_flat_images() -> None:
    flat = torch.full((4, 3, 24, 40), 0.3)
    torch.testing.assert_close(blur(flat), flat)


def test_noise_is_drawn_on_the_processor_wherever_the_images_are() -> None:
    states = []
    for device in ("cpu", "meta"):
        torch.manual_seed(0)
        add_noise(torch.zeros(2, 3, 8, 8, device=device))
        states.append(torch.get_rng_state())
    assert torch.equal(*states)


def test_noise_differs_between_images_and_pixels() -> None:
    torch.manual_seed(0)
    flat = torch.full((200, 3, 16, 16), 0.5)
    deviations = (add_noise(flat) - flat).std((1, 2, 3))
    assert float(deviations.min()) < 0.01
    assert 0.15 < float(deviations.max()) < 0.26
