"""What a model says about one picture."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from doctor_derma.decisions import Rule
from doctor_derma.inference.image_quality import Fault

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
    warnings : faults of the picture, of dark, bright, blurred and small
    activation_map : float32 of shape (h, w), the evidence for ``label`` at each place of
        the picture (class activation mapping, Zhou et al., CVPR 2016); but for being moved
        by part of a cell to where the evidence lies, its mean plus a constant is the logit
    """

    label: str
    rule: Rule
    probabilities: dict[str, float]
    prediction_set: tuple[str, ...]
    unfamiliarity: float
    warnings: tuple[Fault, ...]
    activation_map: np.ndarray

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
