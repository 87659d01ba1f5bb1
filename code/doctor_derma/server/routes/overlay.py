"""An activation map as a coloured PNG."""

import io

import numpy as np
from PIL import Image

# Viridis (Smith and van der Walt, 2015) at five places, as on the upload page; colour-blind
# people can read it, and it stays in order when printed in grey.
VIRIDIS = np.array(
    [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]], dtype=np.float32
)


def draw_map(activation_map: np.ndarray, height: int, width: int) -> bytes:
    """Draw a map as a PNG, from its least value in dark blue to its greatest in yellow.

    Parameters
    ----------
    activation_map : float32 of shape (h, w)
    height, width : size of the PNG; values between the centres of cells are bilinear

    Returns
    -------
    the encoded file
    """
    smooth = Image.fromarray(activation_map.astype(np.float32)).resize(
        (width, height), Image.Resampling.BILINEAR
    )
    values = np.asarray(smooth)
    low, span = values.min(), np.ptp(values)
    levels = (values - low) / span if span > 0 else np.zeros_like(values)
    stops = np.linspace(0, 1, len(VIRIDIS))
    colours = [np.interp(levels, stops, VIRIDIS[:, channel]) for channel in range(3)]
    stream = io.BytesIO()
    Image.fromarray(np.stack(colours, axis=-1).round().astype(np.uint8)).save(stream, "PNG")
    return stream.getvalue()
