"""Fits what age, sex and site say beside a picture, if the data set knows them and it helps."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.optimize import minimize
from scipy.special import log_softmax
from sklearn.model_selection import GroupKFold

from doctor_derma.bundle import PatientTerm, SetKind
from doctor_derma.decisions import Rulebook, log_probabilities
from doctor_derma.evaluation.metrics import classification_metrics
from doctor_derma.export.calibration import fit_sets
from doctor_derma.inference.patient import OLDEST, SEXES, Patient, encode_patients

# Half the squared weights, times this, beside the summed loss.
PENALTY = 3.0
# Images with an age, sex or site under which nothing is fitted.
LEAST_KNOWN = 200
# Images of a site under which it is not known.
LEAST_SITE = 20
FOLDS = 5
_METRICS = ("balanced_accuracy", "macro_auc", "accuracy", "log_loss")


def patients_of(table: pd.DataFrame) -> list[Patient]:
    """Return what a manifest says of the patient of each image."""
    columns = {name: table.get(name, pd.Series(None, table.index)) for name in Patient._fields}
    ages = pd.to_numeric(columns["age"], errors="coerce")
    ages = ages.where(ages.between(0, OLDEST))
    sexes = columns["sex"].where(columns["sex"].isin(SEXES))
    sites = columns["site"].where(~columns["site"].isin(["", "unknown"]))
    return [
        Patient(*(None if pd.isna(value) else value for value in row))
        for row in zip(ages, sexes, sites, strict=True)
    ]


def known_sites(patients: Sequence[Patient]) -> tuple[str, ...]:
    """Return the sites of enough images, sorted."""
    counts = pd.Series([one.site for one in patients], dtype=object).value_counts()
    return tuple(sorted(counts.index[counts >= LEAST_SITE]))


def fit_weights(probabilities: np.ndarray, columns: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Fit W, float64 (d, K), for ``softmax(log(probabilities) + columns @ W)`` to give the labels.

    ``probabilities`` (n, K) are of pictures that training has not seen, ``columns`` (n, d) of
    ``encode_patients``, ``labels`` int (n,).
    """
    scores = log_probabilities(probabilities)
    truth = np.eye(scores.shape[1])[labels]

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights = flat.reshape(columns.shape[1], -1)
        found = log_softmax(scores + columns @ weights, axis=1)
        slope = columns.T @ (np.exp(found) - truth) + PENALTY * weights
        return PENALTY / 2 * (flat**2).sum() - (found * truth).sum(), slope.ravel()

    first = np.zeros(columns.shape[1] * scores.shape[1])
    return minimize(loss, first, jac=True, method="L-BFGS-B").x.reshape(columns.shape[1], -1)


def fit_patient_term(
    probabilities: np.ndarray,
    labels: np.ndarray,
    lesions: np.ndarray,
    patients: Sequence[Patient],
    rulebook: Rulebook,
    sets: SetKind = "marginal",
) -> PatientTerm | None:
    """Fit the term, judge it on images that it was not fitted to, and keep it if it helps.

    It is kept where it lowers the log loss in cross-validation over lesions, by more than two
    standard errors; the prediction sets and the figures with patient data are of that
    cross-validation as well.

    Parameters
    ----------
    probabilities : of n pictures that training has not seen, (n, K)
    labels, lesions, patients : int, str and whom it shows, of each picture
    rulebook : whose default rule calls the pictures
    sets : what the prediction sets promise

    Returns
    -------
    None where too little is known of the patients, or it does not help
    """
    known = sum(bool(one.known) for one in patients)
    if known < LEAST_KNOWN or len(np.unique(lesions)) < FOLDS:
        return None
    sites = known_sites(patients)
    columns = encode_patients(patients, sites)
    together = np.empty_like(probabilities)
    for others, own in GroupKFold(FOLDS).split(columns, labels, lesions):
        weights = fit_weights(probabilities[others], columns[others], labels[others])
        scores = log_probabilities(probabilities[own]) + columns[own] @ weights
        together[own] = np.exp(log_softmax(scores, axis=1))
    if not _helps(probabilities, together, labels, lesions):
        return None
    metrics = {}
    for name, of in (("picture", probabilities), ("both", together)):
        found = classification_metrics(labels, of, rulebook.classes, rulebook.decide(of))
        metrics[name] = {metric: found[metric] for metric in _METRICS}
    return PatientTerm(
        sites=sites,
        weights=tuple(map(tuple, fit_weights(probabilities, columns, labels).tolist())),
        conformal=fit_sets(together, labels, sets),
        metrics=metrics,
    )


def _helps(
    alone: np.ndarray, together: np.ndarray, labels: np.ndarray, lesions: np.ndarray
) -> bool:
    rows = np.arange(len(labels))
    gains = log_probabilities(together)[rows, labels] - log_probabilities(alone)[rows, labels]
    by_lesion = pd.Series(gains).groupby(lesions).sum().to_numpy()
    return bool(by_lesion.mean() > 2 * by_lesion.std(ddof=1) / np.sqrt(len(by_lesion)))
