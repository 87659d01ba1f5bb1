r"""What age, sex and site say beside a picture, where they are known.

Each adds to the logarithms of the picture's probabilities :math:`p_k` a number a class, and what is
not known adds nothing:

.. math:: q_k \propto p_k \exp((x^T W)_k)

x is age and its square, sex and site as numbers, and W is fitted to what networks say of images
that they have not seen (``export/patient.py``): stacking, Wolpert [1]_. Without patient data the
answer is that of the picture alone.

References
----------
.. [1] D. H. Wolpert: Stacked generalization. Neural Networks 5 (1992), 241-259.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from doctor_derma.bundle import BundleInfo, PatientTerm
from doctor_derma.errors import DermaError

SEXES = ("female", "male")
OLDEST = 120
# Age is counted from here, in units of this.
_AGE, _YEARS = 50, 20


class Patient(NamedTuple):
    """The person a picture shows: age in years, sex and site as the data set calls it, or None."""

    age: float | None = None
    sex: str | None = None
    site: str | None = None

    @property
    def known(self) -> tuple[str, ...]:
        """Names of what is known."""
        return tuple(name for name in self._fields if getattr(self, name) is not None)


NOBODY = Patient()


def check_patient(patient: Patient, info: BundleInfo) -> None:
    """Look whether a model can make use of all that is said of a patient.

    Raises a DermaError when it takes no patient data, or the age, sex or site is none that it
    knows.
    """
    if not patient.known:
        return
    if info.patient is None:
        raise DermaError(
            f"{patient.known[0]}: this model, {info.name}, looks at pictures alone; leave it out"
        )
    if patient.age is not None and not 0 <= patient.age <= OLDEST:
        raise DermaError(f"age: {patient.age:g} is no age; give years from 0 to {OLDEST}")
    for name, known in (("sex", SEXES), ("site", info.patient.sites)):
        if (value := getattr(patient, name)) is not None and value not in known:
            raise DermaError(f"{name}: '{value}' is unknown; use {', '.join(known)}")


def encode_patients(patients: Sequence[Patient], sites: Sequence[str]) -> np.ndarray:
    """Return what is known as numbers, float64 (n, 4 + sites).

    The columns are age in units of 20 years from 50 and its square, female, male, and each site.
    What is not known, or is a site that is not among ``sites``, is 0 in all of its columns.

    Examples
    --------
    >>> encode_patients([Patient(70, "male"), Patient(site="back")], ("back", "face")).tolist()
    [[1.0, 1.0, 0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 1.0, 0.0]]
    """
    ages = np.array([_AGE if one.age is None else one.age for one in patients], dtype=float)
    ages = (ages - _AGE) / _YEARS
    columns = [ages, ages**2]
    columns += [np.array([one.sex == sex for one in patients], dtype=float) for sex in SEXES]
    columns += [np.array([one.site == site for one in patients], dtype=float) for site in sites]
    return np.stack(columns, axis=1)


def add_patients(
    probabilities: np.ndarray, patients: Sequence[Patient], term: PatientTerm
) -> np.ndarray:
    """Return the probabilities of pictures with what is known of the patients, float64 (n, K).

    ``probabilities`` are those of the pictures alone, float (n, K).
    """
    added = encode_patients(patients, term.sites) @ np.array(term.weights)
    # The greatest exponent is 0, so that nothing overflows.
    scaled = probabilities.astype(np.float64) * np.exp(added - added.max(axis=1, keepdims=True))
    return scaled / scaled.sum(axis=1, keepdims=True)
