"""What a model says about one picture, or why it says nothing."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from doctor_derma.decisions import Rule
from doctor_derma.images.quality import QualityWarning

# What a person reads wherever they meet a prediction.
NOTICE = "This is not a diagnosis. Doctor Derma is not a medical device."
Abstention = Literal["unfamiliar", "unsure"]


@dataclass(frozen=True, eq=False)
class Prediction:
    """What the model says about one picture. Not a diagnosis.

    Attributes
    ----------
    label : short name of the class that the picture is called, by some rules not the most
        probable one
    rule : the decision rule that called it, see ``decisions.py``
    probabilities : short class name to probability, in the model's class order; sums to 1
    prediction_set : the classes that can't be ruled out, most probable first, and ``label`` among
        them; it holds the true one for 95% of pictures like the validation images (conformal
        prediction)
    unfamiliarity : how unlike the training images the picture is; over 1 for few of their kind
    warnings : what is wrong with the picture: some of dark, bright, blurred and small
    patient_data : which of age, sex and site the probabilities take into account
    activation_map : float32 of shape (h, w), the evidence for ``label`` at each place of
        the picture (class activation mapping, Zhou et al., CVPR 2016); but for being moved
        by part of a cell to where the evidence lies, its mean plus a constant is the logit
    """

    label: str
    rule: Rule
    probabilities: dict[str, float]
    prediction_set: tuple[str, ...]
    unfamiliarity: float
    warnings: tuple[QualityWarning, ...]
    activation_map: np.ndarray
    patient_data: tuple[str, ...] = ()

    @property
    def abstention(self) -> Abstention | None:
        """Why ``label`` should not be taken for an answer; None where it is one.

        ``unfamiliar``: the picture is not of the kind that the model knows. ``unsure``: more
        than one class can't be ruled out, as also where the rule calls a class that probability
        alone would rule out.
        """
        if self.unfamiliarity > 1:
            return "unfamiliar"
        return "unsure" if len(self.prediction_set) > 1 else None


@dataclass(frozen=True, eq=False)
class Row:
    """One picture's prediction, or the reason why it has none.

    Attributes
    ----------
    path : as given
    prediction : None for a bad picture
    error : why the picture couldn't be read; None for a good one
    """

    path: str
    prediction: Prediction | None = None
    error: str | None = None

    @property
    def label(self) -> str | None:
        """Short name of the class that the picture is called; None for a bad picture."""
        return self.prediction.label if self.prediction else None

    @property
    def rule(self) -> Rule | None:
        """The decision rule that called it; None for a bad picture."""
        return self.prediction.rule if self.prediction else None

    @property
    def probabilities(self) -> dict[str, float]:
        """Short class name to probability; empty for a bad picture."""
        return self.prediction.probabilities if self.prediction else {}
