"""Which group of people or pictures each image belongs to, attribute by attribute."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from doctor_derma.audits.skin_tone import BANDS, UNKNOWN

ATTRIBUTES = {
    "sex": "Sex",
    "age": "Age in years",
    "site": "Body site",
    "confirmation": "Diagnosis confirmed by",
    "skin": "Skin around the lesion",
}
AGE_LIMITS = (0, 30, 45, 60, 75)
AGE_BANDS = ("under 30", "30 to 44", "45 to 59", "60 to 74", "75 and over")


def image_groups(
    rows: pd.DataFrame, confirmations: Mapping[str, str], skin_bands: list[str]
) -> pd.DataFrame:
    """Return the group of each image for each attribute that is known of any image.

    Parameters
    ----------
    rows : n rows of the manifest
    confirmations : image -> how its diagnosis was confirmed, where that is known
    skin_bands : n bands of `doctor_derma.audits.skin_tone.measure_skin_tones`

    Returns
    -------
    DataFrame [n] of ordered categories, its columns in the order of ``ATTRIBUTES``; what
    isn't known is ``unknown``, the last category. Ages and skin are in their natural order,
    other groups begin with the largest.
    """
    columns = {
        "sex": _by_size(rows["sex"]),
        "age": _in_order(age_bands(rows["age"].to_numpy(dtype=float)), AGE_BANDS),
        "site": _by_size(rows["site"]),
        "confirmation": _by_size(rows["image"].map(confirmations)),
        "skin": _in_order(skin_bands, tuple(BANDS)),
    }
    known = {name: groups for name, groups in columns.items() if np.any(groups != UNKNOWN)}
    return pd.DataFrame(known)


def age_bands(ages: np.ndarray) -> list[str]:
    """Return the band of ``AGE_BANDS`` of each age in years; nan is unknown."""
    positions = np.searchsorted(AGE_LIMITS, ages, side="right") - 1
    return [
        UNKNOWN if np.isnan(age) else AGE_BANDS[position]
        for age, position in zip(ages, positions, strict=True)
    ]


def _by_size(column: pd.Series) -> pd.Series:
    names = column.fillna(UNKNOWN).astype(str).str.strip().str.lower().replace("", UNKNOWN)
    return _in_order(list(names), tuple(names.value_counts(sort=True).index))


def _in_order(groups: list[str], order: tuple[str, ...]) -> pd.Series:
    present = [name for name in order if name in set(groups) and name != UNKNOWN]
    return pd.Series(pd.Categorical(groups, [*present, UNKNOWN], ordered=True))
