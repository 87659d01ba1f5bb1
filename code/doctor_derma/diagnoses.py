"""Short and full names of the HAM10000 diagnoses (Tschandl et al., 2018, table 2)."""

HAM10000_DIAGNOSES: dict[str, str] = {
    "akiec": "Actinic keratosis or intraepithelial carcinoma (Bowen's disease)",
    "bcc": "Basal cell carcinoma",
    "bkl": "Benign keratosis-like lesion",
    "df": "Dermatofibroma",
    "mel": "Melanoma",
    "nv": "Melanocytic nevus",
    "vasc": "Vascular lesion",
}
# Malignant, or on the way there. HAM10000 has one class for actinic keratoses and carcinoma in
# situ; sets of ISIC 2019 and later have ``ak`` and ``scc``.
MALIGNANT = frozenset({"mel", "bcc", "akiec", "ak", "scc"})


def full_name(dx: str) -> str:
    """Return the full name of a diagnosis, or the short name where none is known."""
    return HAM10000_DIAGNOSES.get(dx, dx)
