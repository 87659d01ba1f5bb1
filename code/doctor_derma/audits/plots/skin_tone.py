"""The colour of the skin around each lesion, with the bands of the typology angle."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from doctor_derma.audits.skin_tone import BANDS, UNKNOWN
from doctor_derma.evaluation.plots.style import INK, MUTED, legend_below, new_figure, style_axes

# From light to dark skin.
COLOURS = ("#f2cdb0", "#dfa67f", "#c17f57", "#95593a", "#663722", "#341a10")


def plot_skin_tones(frame: pd.DataFrame) -> Figure:
    """Draw each image as a point: yellow across, lightness upwards, limits of bands as rays.

    Parameters
    ----------
    frame : of `doctor_derma.audits.skin_tone.measure_skin_tones`
    """
    measured = frame[frame["band"] != UNKNOWN]
    figure = new_figure(7.2, 6.2)
    axes = figure.subplots()
    for (band, above), colour in zip(BANDS.items(), COLOURS, strict=True):
        of_band = measured[measured["band"] == band]
        axes.scatter(
            of_band["yellow"],
            of_band["lightness"],
            s=18,
            color=colour,
            edgecolor=INK,
            linewidth=0.3,
            label=f"{band} ({len(of_band):,})",
        )
        if np.isfinite(above):
            far = 200 * np.array([0, 1])
            axes.plot(
                far * np.cos(np.radians(above)),
                50 + far * np.sin(np.radians(above)),
                color=MUTED,
                linewidth=0.8,
            )
    axes.axvline(0, color=INK, linewidth=1, linestyle=(0, (4, 2)))
    bluish = np.mean(measured["yellow"] <= 0) if len(measured) else 0.0
    style_axes(
        axes,
        f"Skin around the lesion; {bluish:.0%} of the pictures show it with no yellow",
        "b*, from blue (negative) to yellow",
        "L*, lightness",
    )
    if len(measured):
        axes.set_xlim(measured["yellow"].min() - 3, measured["yellow"].max() + 3)
        axes.set_ylim(measured["lightness"].min() - 3, measured["lightness"].max() + 3)
    legend_below(figure, axes, 3, "Band of the individual typology angle (images)")
    return figure
