"""One bundle, loaded for a picture alone and for many at once."""

from pathlib import Path
from typing import NamedTuple

from doctor_derma.decisions import Rule
from doctor_derma.inference.classifier import Classifier


class Classifiers(NamedTuple):
    """How the processors are shared out.

    A picture that comes alone is answered soonest on all of them. Batches cost least on one each,
    side by side: threads that share a batch wait for each other after every layer, which takes
    a sixth of two processors.

    Attributes
    ----------
    alone : its network computes on all processors
    batched : its network computes on one
    runs : batches at a time
    """

    alone: Classifier
    batched: Classifier
    runs: int

    @classmethod
    def load(cls, bundle: Path, cpus: int, rule: Rule | None = None) -> "Classifiers":
        """Load a bundle for so many processors; ``rule`` is as for ``Classifier.load``.

        Raises
        ------
        DermaError
            See ``Classifier.load``.
        """
        alone = Classifier.load(bundle, cpus, rule)
        return cls(alone, Classifier.load(bundle, 1, rule) if cpus > 1 else alone, cpus)
