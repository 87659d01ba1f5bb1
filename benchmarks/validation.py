"""The validation split as the benchmarks of this folder need it."""

from dataclasses import dataclass

import numpy as np

from doctor_derma.data.cache import pixel_cache
from doctor_derma.data.manifest import Dataset, read_dataset
from doctor_derma.export.onnx import load_network
from doctor_derma.export.out_of_fold import network_outputs
from doctor_derma.training.runs import Run
from doctor_derma.workspace import Workspace


@dataclass(frozen=True, eq=False)
class Validation:
    """Rows of the pixel cache and class indices (n,), and the training images of each class."""

    dataset: Dataset
    rows: np.ndarray
    labels: np.ndarray
    class_counts: np.ndarray

    @classmethod
    def read(cls, workspace: Workspace) -> "Validation":
        dataset = read_dataset(workspace.data)
        rows = np.flatnonzero(dataset.table["split"] == "val")
        trained = dataset.targets(dataset.split("train"))
        return cls(
            dataset,
            rows,
            np.array(dataset.targets(dataset.table.iloc[rows])),
            np.bincount(trained, minlength=len(dataset.classes)),
        )

    def pixels(self, run: Run) -> np.ndarray:
        """Return the pixels of all images at the size that a run predicts at."""
        return pixel_cache(self.dataset, *run.config.image_size)

    def logits(self, run: Run) -> np.ndarray:
        """Return the logits (n, classes) of a run, with the views of its recipe."""
        network = load_network(run)
        network.tta = run.config.tta
        return network_outputs(network, self.pixels(run), self.rows)[0]
