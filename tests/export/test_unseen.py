"""A rule is chosen on images that the networks have not seen; `test_decide.py` has the mistakes."""

import pytest

from doctor_derma import Classifier
from doctor_derma.bundle import read_info
from doctor_derma.export.unseen import unseen_predictions
from project import Project


def test_the_unseen_images_are_the_validation_split(tiny_run: Project) -> None:
    runs, bundle, dataset = tiny_run.workspace.runs, tiny_run.run.bundle, tiny_run.dataset
    found = unseen_predictions(runs, bundle, read_info(bundle), dataset)
    assert found.images.tolist() == dataset.split("val")["image"].tolist()
    paths = [dataset.folder / path for path in dataset.split("val")["path"][:3]]
    expected = [of.probabilities for of in Classifier.load(bundle).predict(paths)]
    got = [dict(zip(found.classes, row, strict=True)) for row in found.probabilities[:3]]
    for one, other in zip(got, expected, strict=True):
        assert one == pytest.approx(other, abs=1e-5)
