"""The map of folders: where data, runs, tracking, models and pictures live."""

import os
from dataclasses import dataclass
from pathlib import Path

from doctor_derma.errors import DermaError

ROOT_VARIABLE = "DERMA_ROOT"


@dataclass(frozen=True)
class Workspace:
    """Folders of one project, all below ``root``."""

    root: Path

    @classmethod
    def find(cls) -> "Workspace":
        """Return the workspace of this process, the same from any working directory.

        It is ``$DERMA_ROOT`` where that is set, else the checkout that this package
        runs from, else the working directory.

        Raises a DermaError when its path is not in UTF-8.
        """
        checkout = Path(__file__).resolve().parents[2]
        if named := os.environ.get(ROOT_VARIABLE):
            root = Path(named).expanduser().resolve()
        else:
            root = checkout if (checkout / "pyproject.toml").is_file() else Path.cwd()
        try:
            str(root).encode()
        except UnicodeEncodeError as error:
            raise DermaError(
                f"{root}: its name is not in UTF-8, so that MLflow and ONNX can't open what is in "
                "it; rename the folder or choose another root"
            ) from error
        return cls(root)

    @property
    def data(self) -> Path:
        """The imported data set."""
        return self.root / "data"

    @property
    def runs(self) -> Path:
        """Training runs, a folder each."""
        return self.root / "mlflow" / "runs"

    @property
    def sweeps(self) -> Path:
        """Sweeps of hyperparameters, a folder each."""
        return self.root / "mlflow" / "sweeps"

    @property
    def tracking_database(self) -> Path:
        """MLflow's database, SQLite."""
        return self.root / "mlflow" / "db" / "mlflow.db"

    @property
    def tracking_artifacts(self) -> Path:
        """MLflow's artefacts."""
        return self.root / "mlflow" / "artifacts"

    @property
    def models(self) -> Path:
        """Exported bundles, a folder each."""
        return self.root / "deployment" / "models"

    @property
    def champion(self) -> Path:
        """The bundle that is served."""
        return self.models / "champion"

    @property
    def evaluation_images(self) -> Path:
        """Figures and tables of evaluations."""
        return self.root / "evaluation_images"
