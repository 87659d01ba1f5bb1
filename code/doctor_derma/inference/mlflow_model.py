"""A bundle as an MLflow model, "from code": MLflow runs this file, nothing else imports it.

Log it with ``python_model`` as this file's path, the bundle's folder as the artifact
``bundle`` and the package's folder in ``code_paths``.
"""

import base64
from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext

from doctor_derma.errors import DermaError
from doctor_derma.images.decoding import ImageSource
from doctor_derma.inference.classifier import Classifier
from doctor_derma.inference.output import columns
from doctor_derma.inference.predict import predict_sources

ARTIFACT = "bundle"


class DermaModel(PythonModel):
    """Gives what ``derma predict --format csv`` gives."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the bundle."""
        self._classifier = Classifier.load(context.artifacts[ARTIFACT])

    def predict(
        self,
        context: PythonModelContext,
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        """Classify the picture of each row.

        Parameters
        ----------
        model_input : DataFrame with a column ``path`` (a file that this process can read),
            or a column ``image`` (base64 of an encoded picture), which is then used
        params : ``rule`` is the decision rule, the bundle's own when empty or not given

        Returns
        -------
        DataFrame with the columns ``path``, ``label``, ``rule``, one probability column a class
        and ``error``, in the order and with the index of ``model_input``
        """
        rule = (params or {}).get("rule") or None
        sources: list[tuple[str, ImageSource]]
        if "image" in model_input:
            paths = model_input["path"] if "path" in model_input else [""] * len(model_input)
            sources = [
                (str(path), _decoded(text))
                for path, text in zip(paths, model_input["image"], strict=True)
            ]
        elif "path" in model_input:
            sources = [(str(path), str(path)) for path in model_input["path"]]
        else:
            raise DermaError(
                f"columns {', '.join(map(str, model_input.columns))}: none is 'path' or 'image'; "
                "give one of them"
            )
        names = self._classifier.class_names
        records = [
            [
                *(row.path, row.label or "", row.rule or ""),
                *map(row.probabilities.get, names),
                row.error or "",
            ]
            for row in predict_sources(self._classifier, sources, rule=rule)
        ]
        header = columns(self._classifier.info.classes)
        table = pd.DataFrame(records, model_input.index, columns=header)
        return table.astype(dict.fromkeys(names, "float64"))


def _decoded(text: object) -> bytes:
    """Return the bytes that base64 text stands for; text that is none stays no picture."""
    if isinstance(text, bytes):
        return text
    try:
        return base64.b64decode(str(text), validate=True)
    except ValueError:
        return str(text).encode()


set_model(DermaModel())
