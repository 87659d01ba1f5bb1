"""The map of folders: where data, runs, tracking, models and pictures live."""

import os
from dataclasses import dataclass
from pathlib import Path

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
        """
        if named := os.environ.get(ROOT_VARIABLE):
            return cls(Path(named).expanduser().resolve())
        checkout = Path(__file__).resolve().parents[2]
        return cls(checkout if (checkout / "pyproject.toml").is_file() else Path.cwd())

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def runs(self) -> Path:
        return self.root / "mlflow" / "runs"

    @property
    def sweeps(self) -> Path:
        return self.root / "mlflow" / "sweeps"

    @property
    def tracking_database(self) -> Path:
        return self.root / "mlflow" / "db" / "mlflow.db"

    @property
    def tracking_artifacts(self) -> Path:
        return self.root / "mlflow" / "artifacts"

    @property
    def models(self) -> Path:
        return self.root / "deployment" / "models"

    @property
    def champion(self) -> Path:
        return self.models / "champion"

    @property
    def evaluation_images(self) -> Path:
        return self.root / "evaluation_images"
