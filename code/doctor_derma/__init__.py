"""Doctor Derma: dermatoscopic images to a trained, tracked, evaluated and served classifier.

Not a medical device.
"""

from typing import TYPE_CHECKING

from doctor_derma._version import __version__
from doctor_derma.telemetry import switch_off

if TYPE_CHECKING:
    from doctor_derma.inference.classifier import Classifier
    from doctor_derma.inference.prediction import Prediction

__all__ = ["Classifier", "Prediction", "__version__"]

# Before anything else of the package, which all else is imported through.
switch_off()


def __getattr__(name: str) -> object:
    # Looked up on first use, so that a package which doesn't infer never loads ONNX Runtime.
    if name in ("Classifier", "Prediction"):
        from doctor_derma.inference import classifier

        return getattr(classifier, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
