"""From encoded pictures to predictions, many at a time, never more than can be answered."""

from doctor_derma.server.engine.classifiers import Classifiers
from doctor_derma.server.engine.engine import Engine
from doctor_derma.server.engine.refusals import DeadlineExceeded, Draining, Overloaded

__all__ = ["Classifiers", "DeadlineExceeded", "Draining", "Engine", "Overloaded"]
