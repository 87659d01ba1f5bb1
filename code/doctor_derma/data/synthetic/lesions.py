"""Synthetic lesions as maps of what colours skin: melanin, deep melanin, blood and keratin.

Each diagnosis has the structures that dermatoscopy knows it by (a network or globules in
a nevus, vessel trees and blue-grey nests in a basal cell carcinoma ...), drawn roughly:
enough to learn and to demonstrate from, and no model of disease.
"""

from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from doctor_derma.data.synthetic import patterns
from doctor_derma.data.synthetic.patterns import CANVAS, EXTENT, Outline

_NOTHING = np.zeros((CANVAS, CANVAS), dtype=np.float32)


class Chromophores(NamedTuple):
    """Amounts on the canvas, float32 of shape (CANVAS, CANVAS), 0 outside the lesion.

    Attributes
    ----------
    melanin, deep, blood : optical densities of pigment near the surface (brown), pigment
        deep in the skin (blue-grey) and blood (red)
    keratin : share of light that white scale or scar throws back, 0 to 1
    """

    melanin: np.ndarray = _NOTHING
    deep: np.ndarray = _NOTHING
    blood: np.ndarray = _NOTHING
    keratin: np.ndarray = _NOTHING


def draw_lesion(dx: str, generator: Generator) -> Chromophores:
    """Draw one lesion of a HAM10000 diagnosis, with a trace of another it may be taken for."""
    paint, ragged, longest = _KINDS[dx]
    outline = patterns.draw_outline(generator, ragged, longest)
    look = paint(generator, outline)
    other = str(generator.choice([name for name in _KINDS if name != dx]))
    trace = _KINDS[other][0](generator, outline)
    weight = np.float32(0.4 * generator.beta(1, 1.5))
    # Nothing may stand on the canvas's edge, where a view would cut it off.
    fade = np.clip((EXTENT - np.maximum(abs(patterns.U), abs(patterns.V))) / 0.15, 0, 1)
    amounts = ((1 - weight) * own + weight * its for own, its in zip(look, trace, strict=True))
    return Chromophores(*((amount * fade).clip(0) for amount in amounts))


def _nevus(generator: Generator, outline: Outline) -> Chromophores:
    body = outline.inside(generator.uniform(0.04, 0.1))
    pattern = generator.choice(["network", "globules", "even"])
    texture = 1 + 0.12 * patterns.noise(generator, 6) + 0.08 * patterns.noise(generator, 16)
    if pattern == "network":
        lines = patterns.network(generator, generator.uniform(0.1, 0.16))
        texture = texture * (0.65 + 0.7 * lines)
    elif pattern == "globules":
        dots = patterns.globules(generator, generator.uniform(0.14, 0.22))
        texture = texture * (0.75 + 0.8 * dots)
    centre = 0.7 + generator.uniform(-0.2, 0.7) * outline.depth.clip(0)
    melanin = generator.uniform(0.45, 1.25) * body * texture * centre
    return Chromophores(melanin=melanin, blood=generator.uniform(0, 0.3) * body)


def _melanoma(generator: Generator, outline: Outline) -> Chromophores:
    body = outline.inside(generator.uniform(0.02, 0.06))
    angle = generator.uniform(0, 2 * np.pi)
    lopsided = 1 + 0.45 * (patterns.U * np.cos(angle) + patterns.V * np.sin(angle))
    blotches = np.clip(patterns.noise(generator, 5) - 0.4, 0, 1.2)
    lines = patterns.network(generator, generator.uniform(0.14, 0.24))
    network = 0.8 + 0.5 * lines * (patterns.noise(generator, 4) > 0)
    dots = patterns.spots(generator, (2, 16), (0.03, 0.07), (0.6, 1.05))
    pigment = generator.uniform(0.5, 1.0) * lopsided * network
    melanin = body * (pigment + generator.uniform(0.3, 1) * blotches + dots)
    veil = body * patterns.spots(generator, (0, 3), (0.25, 0.5), (0.0, 0.6))
    pale = body * patterns.spots(generator, (0, 2), (0.2, 0.35), (0.3, 0.7))
    return Chromophores(
        melanin=melanin * (1 - 0.6 * pale),
        deep=generator.uniform(0.2, 0.9) * veil,
        blood=0.25 * body * np.clip(patterns.noise(generator, 4), 0, 2),
        keratin=0.3 * pale,
    )


def _benign_keratosis(generator: Generator, outline: Outline) -> Chromophores:
    body = outline.inside(generator.uniform(0.015, 0.05))
    ridges = np.abs(patterns.noise(generator, 11)).clip(0, 1.5)
    openings = patterns.spots(generator, (0, 14), (0.03, 0.06), (0.0, 0.85))
    cysts = patterns.spots(generator, (0, 14), (0.03, 0.06), (0.0, 0.85))
    tan = generator.uniform(0.3, 0.75)
    return Chromophores(
        melanin=body * (tan * (0.65 + 0.5 * ridges) + 0.9 * openings),
        deep=body * generator.uniform(0.1, 0.3),
        keratin=body * (0.7 * cysts + 0.12),
    )


def _basal_cell_carcinoma(generator: Generator, outline: Outline) -> Chromophores:
    body = outline.inside(0.1)
    vessels = patterns.vessels(generator, (1, 5))
    nests = patterns.spots(generator, (0, 6), (0.09, 0.2), (0.1, 0.85))
    return Chromophores(
        melanin=generator.uniform(0, 0.2) * body,
        deep=body * generator.uniform(0.4, 1.0) * nests,
        blood=body * (generator.uniform(0.15, 0.4) + generator.uniform(0.4, 0.9) * vessels),
        keratin=body * (0.15 + 0.25 * (patterns.noise(generator, 9) > 1.3)),
    )


def _actinic_keratosis(generator: Generator, outline: Outline) -> Chromophores:
    body = outline.inside(0.2)
    strength = generator.uniform(0.2, 1)
    follicles = strength * patterns.globules(generator, generator.uniform(0.18, 0.28))
    scale = np.clip(patterns.noise(generator, 10) - 0.5, 0, 1)
    return Chromophores(
        melanin=body * generator.uniform(0.05, 0.35) * (1 + 0.4 * patterns.noise(generator, 7)),
        blood=body * generator.uniform(0.35, 0.65) * (1 - 0.6 * follicles),
        keratin=body * (0.35 * follicles + 0.55 * scale),
    )


def _dermatofibroma(generator: Generator, outline: Outline) -> Chromophores:
    body = outline.inside(0.14)
    scar = np.exp(-(((1 - outline.depth) / generator.uniform(0.35, 0.55)) ** 2))
    scar = scar * (0.85 + 0.15 * patterns.noise(generator, 14))
    network = 0.65 + 0.6 * patterns.network(generator, generator.uniform(0.1, 0.15))
    return Chromophores(
        melanin=body * generator.uniform(0.3, 0.6) * network * (1 - 0.8 * scar),
        blood=body * generator.uniform(0.1, 0.3),
        keratin=body * generator.uniform(0.2, 0.5) * scar,
    )


def _vascular(generator: Generator, outline: Outline) -> Chromophores:
    body = outline.inside(0.04)
    lacunae = patterns.spots(generator, (6, 26), (0.12, 0.26), (0.0, 0.9)).clip(0, 1.3)
    return Chromophores(
        blood=body * (generator.uniform(0.4, 0.8) + generator.uniform(0.7, 1.4) * lacunae),
        deep=body * generator.uniform(0.0, 0.7) * lacunae,
    )


# How each is painted, how ragged its border is (0 is an ellipse), and the most that one axis
# outgrows the other.
_KINDS = {
    "akiec": (_actinic_keratosis, 0.1, 1.4),
    "bcc": (_basal_cell_carcinoma, 0.08, 1.3),
    "bkl": (_benign_keratosis, 0.07, 1.5),
    "df": (_dermatofibroma, 0.03, 1.2),
    "mel": (_melanoma, 0.13, 1.6),
    "nv": (_nevus, 0.05, 1.5),
    "vasc": (_vascular, 0.05, 1.3),
}
