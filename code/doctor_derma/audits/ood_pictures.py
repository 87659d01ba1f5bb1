"""Pictures that are not dermatoscopic, to see whether a model notices.

All are drawn here or made from pictures of the data set, so the bench needs no download.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

SIZE = (200, 150)
_WORDS = [
    *("skin", "patient", "report", "lesion", "dermatology", "invoice", "total", "page", "date"),
    *("name", "figure", "table", "hospital", "letter", "result", "sample", "method", "2024"),
    *("17:30", "42%", "yes", "no", "and", "the", "of", "in", "on"),
]


def noise(generator: np.random.Generator) -> Image.Image:
    """Draw independent pixels, uniform or normal, grey or coloured, coarse or fine."""
    grain = int(generator.integers(1, 9))
    shape = (SIZE[1] // grain + 1, SIZE[0] // grain + 1, int(generator.choice([1, 3])))
    if generator.random() < 0.5:
        values = generator.uniform(0, 255, shape)
    else:
        values = generator.normal(generator.uniform(60, 200), generator.uniform(15, 70), shape)
    picture = _from_array(np.broadcast_to(values, (*shape[:2], 3)))
    resampling = generator.choice([Image.Resampling.NEAREST, Image.Resampling.BICUBIC])
    return picture.resize(SIZE, int(resampling))


def gradients(generator: np.random.Generator) -> Image.Image:
    """Draw one colour turning into another, straight or around a point."""
    across, down = _grid()
    if generator.random() < 0.5:
        angle = generator.uniform(0, 2 * np.pi)
        way = np.cos(angle) * across + np.sin(angle) * down
    else:
        way = np.hypot(across - generator.random(), down - generator.random())
    share = ((way - way.min()) / np.ptp(way))[..., None]
    first, second = generator.uniform(0, 255, (2, 3))
    return _from_array(first + (second - first) * share)


def text(generator: np.random.Generator) -> Image.Image:
    """Draw large words in one colour on another."""
    paper = generator.integers(0, 256, 3)
    ink = _colour((paper + generator.integers(90, 166, 3)) % 256)
    picture = Image.new("RGB", SIZE, _colour(paper))
    draw = ImageDraw.Draw(picture)
    for _ in range(int(generator.integers(2, 9))):
        font = ImageFont.load_default(float(generator.uniform(12, 48)))
        place = generator.uniform(-20, 0.85 * SIZE[0]), generator.uniform(-5, 0.9 * SIZE[1])
        draw.text(place, str(generator.choice(_WORDS)), fill=ink, font=font)
    return picture


def documents(generator: np.random.Generator) -> Image.Image:
    """Draw a page of small print with a heading, and sometimes a table."""
    picture = Image.new("RGB", SIZE, _colour(generator.integers(225, 256, 3)))
    draw = ImageDraw.Draw(picture)
    size = float(generator.uniform(6, 11))
    heading, print_ = ImageFont.load_default(1.7 * size), ImageFont.load_default(size)
    margin = int(generator.integers(6, 25))
    draw.text((margin, margin), " ".join(generator.choice(_WORDS, 3)), fill="black", font=heading)
    top = margin + int(2.4 * size)
    for row in range(top, SIZE[1] - margin, int(1.3 * size) + 1):
        line = " ".join(generator.choice(_WORDS, int(generator.integers(3, 9))))
        draw.text((margin, row), line, fill=(40, 40, 40), font=print_)
    if generator.random() < 0.4:
        for column in np.linspace(margin, SIZE[0] - margin, int(generator.integers(3, 7))):
            draw.line((column, top, column, SIZE[1] - margin), fill="black")
        for line_at in np.linspace(top, SIZE[1] - margin, int(generator.integers(3, 8))):
            draw.line((margin, line_at, SIZE[0] - margin, line_at), fill="black")
    return picture


def scenes(generator: np.random.Generator) -> Image.Image:
    """Draw a landscape: sky, a sun, hills, houses and trees."""
    horizon = int(generator.uniform(0.4, 0.75) * SIZE[1])
    sky = generator.uniform((90, 150, 200), (190, 215, 255))
    fade = np.linspace(0, 1, SIZE[1])[:, None, None]
    picture = _from_array(np.broadcast_to(sky + (255 - sky) * fade, (SIZE[1], SIZE[0], 3)))
    draw = ImageDraw.Draw(picture)
    draw.circle((generator.uniform(0, SIZE[0]), generator.uniform(5, 45)), 12, fill=(255, 230, 120))
    ground = generator.uniform((60, 110, 30), (140, 180, 90))
    draw.rectangle((0, horizon, *SIZE), fill=_colour(ground))
    for _ in range(int(generator.integers(1, 5))):
        left, size = generator.uniform(0, SIZE[0]), generator.uniform(18, 50)
        wall = _colour(generator.integers(80, 256, 3))
        draw.rectangle((left, horizon - size, left + size, horizon + 8), fill=wall)
        roof = [(left - 4, horizon - size), (left + size / 2, horizon - 1.6 * size)]
        draw.polygon([*roof, (left + size + 4, horizon - size)], fill=(150, 50, 40))
        window = left + size / 3, horizon - size / 2
        draw.rectangle((*window, window[0] + size / 4, window[1] + size / 4), fill=(60, 80, 110))
    for _ in range(int(generator.integers(1, 6))):
        left, size = generator.uniform(0, SIZE[0]), generator.uniform(8, 22)
        draw.rectangle((left - 2, horizon - size, left + 2, horizon + 14), fill=(95, 65, 40))
        draw.circle((left, horizon - 1.5 * size), size, fill=(35, 110, 45))
    return picture


def textures(generator: np.random.Generator) -> Image.Image:
    """Draw a repeating pattern: stripes, checks, bricks, waves or cells."""
    across, down = (axis * SIZE[0] for axis in _grid())
    period = generator.uniform(6, 40)
    angle = generator.uniform(0, np.pi)
    along = np.cos(angle) * across + np.sin(angle) * down
    kind = int(generator.integers(5))
    if kind == 0:
        share = ((along / period) % 1 < 0.5).astype(float)
    elif kind == 1:
        share = (across // period + down // period) % 2
    elif kind == 2:
        row = down // (period / 2)
        joint = ((across + row % 2 * period / 2) % period < 2) | (down % (period / 2) < 2)
        share = joint.astype(float)
    elif kind == 3:
        turn = np.sin(2 * np.pi * (along / period)) * np.sin(2 * np.pi * across / period)
        share = (turn + 1) / 2
    else:
        points = generator.uniform(0, SIZE[0], (int(generator.integers(15, 70)), 2))
        away = np.hypot(across[..., None] - points[:, 0], down[..., None] - points[:, 1])
        share = np.clip(away.min(axis=2) / period, 0, 1)
    first, second = generator.uniform(0, 255, (2, 3))
    return _from_array(first + (second - first) * share[..., None])


def inverted(picture: Image.Image) -> Image.Image:
    """Return the negative of a picture."""
    return _from_array(255 - np.asarray(picture, dtype=float))


def channels_swapped(picture: Image.Image) -> Image.Image:
    """Return a picture with red and blue exchanged."""
    return Image.fromarray(np.ascontiguousarray(np.asarray(picture)[..., ::-1]))


DRAWN: dict[str, Callable[[np.random.Generator], Image.Image]] = {
    draw.__name__: draw for draw in (noise, gradients, text, documents, scenes, textures)
}
CHANGED: dict[str, Callable[[Image.Image], Image.Image]] = {
    "inverted": inverted,
    "channels swapped": channels_swapped,
}


def draw_pictures(kind: str, count: int, seed: int) -> list[Image.Image]:
    """Draw pictures of one kind of ``DRAWN``; the same seed gives the same pictures.

    Half of them are softened a little, as a lens or a compression does.
    """
    generator = np.random.default_rng([seed, list(DRAWN).index(kind)])
    pictures = [DRAWN[kind](generator) for _ in range(count)]
    radii = generator.uniform(0, 1.5, count) * (generator.random(count) < 0.5)
    return [
        picture.filter(ImageFilter.GaussianBlur(float(radius)))
        for picture, radius in zip(pictures, radii, strict=True)
    ]


def _grid() -> tuple[np.ndarray, np.ndarray]:
    """Return x and y of every pixel in units of the picture's width, each (height, width)."""
    across, down = np.meshgrid(np.arange(SIZE[0]), np.arange(SIZE[1]))
    return across / SIZE[0], down / SIZE[0]


def _from_array(values: np.ndarray) -> Image.Image:
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


def _colour(values: np.ndarray) -> tuple[int, ...]:
    return tuple(int(value) for value in values)
