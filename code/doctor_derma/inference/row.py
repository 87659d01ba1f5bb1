"""One line of what ``derma predict`` writes."""

from dataclasses import dataclass

from doctor_derma.decisions import Rule
from doctor_derma.inference.prediction import Prediction


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
