"""The contrast ratio of two colours, as WCAG 2.2 defines it."""

from collections.abc import Sequence


def contrast_ratio(front: Sequence[float], back: Sequence[float]) -> float:
    """Return the ratio, from 1 to 21, of two colours of red, green and blue from 0 to 255."""
    lighter, darker = sorted(map(luminance, (front, back)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: Sequence[float]) -> float:
    """Return the relative luminance of a colour, from 0 to 1."""
    shares = [value / 255 for value in colour[:3]]
    red, green, blue = (
        share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
