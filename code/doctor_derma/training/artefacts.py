"""What lies over a lesion in real pictures: hairs, rulers, gel bubbles, and dark borders.

All take images of shape (n, 3, H, W) in [0, 1] and draw for each its own. Lengths are shares of
the shorter side.
"""

import torch
from torch import Tensor
from torch.nn import functional

from doctor_derma.training.draws import uniform

_HAIRS = 40
_HAIR_POINTS = 256
_BUBBLES = 8


def lay_hairs(images: Tensor) -> Tensor:
    """Lay 1 to 40 curved hairs over each image, dark, brown or grey, one or two pixels wide."""
    count, _, height, width = images.shape
    device = images.device
    # A hair is a stroke with one bend: the middle of a quadratic Bezier curve off its chord.
    along = torch.linspace(-1, 1, _HAIR_POINTS, device=device)
    shape = (count, _HAIRS, 1)
    heading = uniform(count, 0, 2 * torch.pi).view(-1, 1, 1) + 0.6 * torch.randn(shape)
    length = uniform(count * _HAIRS, 0.15, 0.6).view(shape) * min(height, width)
    bend = torch.randn(shape) * 0.35
    middle_x, middle_y = torch.rand(shape) * width, torch.rand(shape) * height
    heading, length, bend, middle_x, middle_y = (
        part.to(device) for part in (heading, length, bend, middle_x, middle_y)
    )
    forward, sideways = along * length, bend * (1 - along.square()) * length
    x = middle_x + heading.cos() * forward - heading.sin() * sideways
    y = middle_y + heading.sin() * forward + heading.cos() * sideways
    hairs = torch.randint(1, _HAIRS + 1, (count,)).view(-1, 1).to(device)
    drawn = (torch.arange(_HAIRS, device=device) < hairs)[:, :, None]
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height) & drawn
    cells = (y.clamp(0, height - 1).long() * width + x.clamp(0, width - 1).long()).flatten(1)
    cover = torch.zeros(count, height * width, device=device)
    cover.scatter_reduce_(1, cells, inside.flatten(1).float(), "amax")
    cover = cover.view(count, 1, height, width)
    wide = uniform(count, 0, 1).view(-1, 1, 1, 1).to(device)
    # Smoothed to the width of a hair: a thin one is one pixel and its neighbours' edges.
    thin = functional.avg_pool2d(cover, 3, 1, 1) * 1.5 + cover * 0.4
    thick = functional.avg_pool2d(functional.max_pool2d(cover, 3, 1, 1), 3, 1, 1)
    cover = torch.lerp(thin, thick, wide).clamp(0, 1)
    opacity = uniform(count, 0.4, 1).view(-1, 1, 1, 1).to(device)
    brown = torch.tensor([0.16, 0.11, 0.09]).view(1, 3, 1, 1)
    colour = brown * uniform(count, 0.2, 3.5).view(-1, 1, 1, 1)
    return torch.lerp(images, colour.to(device).expand_as(images), opacity * cover)


def lay_ruler(images: Tensor) -> Tensor:
    """Lay the marks of a ruler along one edge of each image, every fifth or tenth longer."""
    count, _, height, width = images.shape
    device = images.device
    shorter = min(height, width)
    pitch, offset, stroke, reach, slope = (
        part.view(-1, 1, 1, 1).to(device)
        for part in (
            uniform(count, 0.03, 0.12) * shorter,
            uniform(count, 0, 1),
            uniform(count, 0.006, 0.014) * shorter,
            uniform(count, 0.03, 0.13) * shorter,
            uniform(count, -0.1, 0.1),
        )
    )
    edge = torch.randint(0, 4, (count,)).view(-1, 1, 1, 1).to(device)
    every = torch.where(torch.rand(count) < 0.5, 5, 10).view(-1, 1, 1, 1).to(device)
    rows = torch.arange(height, device=device).view(1, 1, -1, 1) + 0.5
    columns = torch.arange(width, device=device).view(1, 1, 1, -1) + 0.5
    depth = torch.where(
        edge < 2,
        torch.where(edge == 0, rows, height - rows),
        torch.where(edge == 2, columns, width - columns),
    )
    along = torch.where(edge < 2, columns, rows) + slope * depth
    marks = along / pitch + offset
    number = marks.round()
    beside = (marks - number).abs() * pitch
    long = (number.remainder(every) == 0).float() + 1
    cover = (stroke / 2 + 0.5 - beside).clamp(0, 1) * (reach * long - depth).clamp(0, 1)
    return images * (1 - uniform(count, 0.5, 1).view(-1, 1, 1, 1).to(device) * cover)


def lay_bubbles(images: Tensor) -> Tensor:
    """Lay 1 to 8 bubbles of gel over each image: bright rings with a lighter inside."""
    count, _, height, width = images.shape
    device = images.device
    shape = (count, _BUBBLES, 1, 1)
    radius = (0.01 * 15 ** torch.rand(shape) * min(height, width)).to(device)
    there = (torch.arange(_BUBBLES) < torch.randint(1, _BUBBLES + 1, (count, 1))).float()
    light = there.view(shape).to(device)
    across = (torch.rand(shape) * width).to(device)
    down = (torch.rand(shape) * height).to(device)
    rows = torch.arange(height, device=device).view(1, 1, -1, 1) - down
    columns = torch.arange(width, device=device).view(1, 1, 1, -1) - across
    distance = (rows.square() + columns.square()).sqrt()
    ring = torch.exp(-((distance - radius) / (0.12 * radius + 0.6)).square())
    inside = (radius - distance).clamp(0, 1)
    strength = uniform(count, 0.1, 0.6).view(-1, 1, 1, 1).to(device)
    glow = (strength * (light * (ring + 0.25 * inside)).amax(1, keepdim=True)).clamp(0, 1)
    return images + (1 - images) * glow


def shade_borders(images: Tensor) -> Tensor:
    """Darken the borders of each image softly, or cut its corners off as a dermatoscope's tube."""
    count, _, height, width = images.shape
    device = images.device
    half = min(height, width) / 2
    centre_y, centre_x = (
        (side / 2 + uniform(count, -0.15, 0.15) * half).view(-1, 1, 1, 1).to(device)
        for side in (height, width)
    )
    rows = torch.arange(height, device=device).view(1, 1, -1, 1) - centre_y
    columns = torch.arange(width, device=device).view(1, 1, 1, -1) - centre_x
    distance = (rows.square() + columns.square()).sqrt() / half
    strength, start, tube, edge = (
        part.view(-1, 1, 1, 1).to(device)
        for part in (
            uniform(count, 0.1, 0.6),
            uniform(count, 0.3, 1.0),
            uniform(count, 0.95, 1.6),
            uniform(count, 0.01, 0.15),
        )
    )
    soft = 1 - strength * ((distance - start).clamp(min=0) / 1.3).clamp(max=1)
    hard = ((tube - distance) / edge + 0.5).clamp(0, 1)
    has_tube = (torch.rand(count) < 0.5).view(-1, 1, 1, 1).to(device)
    return images * torch.where(has_tube, hard * (1 - 0.3 * (1 - soft)), soft)
