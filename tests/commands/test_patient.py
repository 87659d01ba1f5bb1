"""``--age``, ``--sex``, ``--site`` and ``--patient-data``, and what can't have them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from doctor_derma.bundle import BundleInfo, read_info, write_info
from doctor_derma.data.manifest import read_dataset
from doctor_derma.export.patient import patients_of
from doctor_derma.inference.patient import add_patients
from project import Project, RunDerma, copy_data
from tiny_bundle import PATIENT, write_bundle


@pytest.fixture
def knowing(tiny_run: Project, tmp_path: Path) -> tuple[Path, BundleInfo]:
    """A root whose champion weighs the age and the sites of the synthetic data."""
    root = copy_data(tiny_run.workspace.root, tmp_path / "root")
    bundle = root / "deployment" / "models" / "champion"
    bundle.parent.mkdir(parents=True)
    bundle.symlink_to(tiny_run.run.bundle)
    info = read_info(bundle)
    random = np.random.default_rng(0)
    weights = random.normal(size=(6, len(info.classes))).tolist()
    term = PATIENT.model_copy(update={"weights": tuple(map(tuple, weights))})
    bundle.unlink()
    bundle.mkdir()
    (bundle / info.weights.file).symlink_to(tiny_run.run.bundle / info.weights.file)
    changed = info.model_copy(update={"patient": term})
    write_info(bundle, changed)
    return root, changed


@pytest.mark.usefixtures("undrawn")
def test_an_evaluation_weighs_what_the_manifest_knows(
    knowing: tuple[Path, BundleInfo], run_derma: RunDerma
) -> None:
    root, info = knowing
    common = ("--root", root, "evaluate", "champion", "--no-gallery")
    assert run_derma(*common)[0] == 0
    assert run_derma(*common, "--patient-data")[0] == 0
    folder = root / "evaluation_images"
    alone, together = (
        pd.read_csv(folder / name / "predictions.csv", dtype={"image": str}).set_index("image")
        for name in (info.name, f"{info.name}-patient-data")
    )
    table = read_dataset(root / "data").table.set_index("image").loc[alone.index]
    assert info.patient is not None
    classes = list(info.class_names)
    expected = add_patients(alone[classes].to_numpy(), patients_of(table), info.patient)
    np.testing.assert_allclose(together.loc[alone.index, classes], expected, atol=1e-6)
    assert not np.allclose(alone[classes], together.loc[alone.index, classes], atol=0.01)


def test_a_model_of_pictures_alone_is_evaluated_without(
    tiny_run: Project, run_derma: RunDerma
) -> None:
    code, _, said = run_derma(
        "--root", tiny_run.workspace.root, "evaluate", "tiny", "--patient-data"
    )
    assert code != 0
    assert "--patient-data: tiny looks at pictures alone; leave it out" in " ".join(said.split())


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--age", "62", "--rank"), "--age: is of one patient; leave it out with --rank"),
        (("--sex", "male", "--engine", "ray", "--out", "x"), "--sex: is of one patient"),
        (("--site", "elbow"), "site: 'elbow' is unknown; use back, face"),
        (("--age", "130"), "age: 130 is no age; give years from 0 to 120"),
    ],
)
def test_mistakes_are_one_line(
    tmp_path: Path, pictures: Path, run_derma: RunDerma, flags: tuple[str, ...], words: str
) -> None:
    bundle = write_bundle(tmp_path / "bundle", patient=PATIENT)
    code, _, said = run_derma("predict", pictures, "--model", bundle, *flags)
    assert code != 0
    assert words in " ".join(said.split())


def test_a_prediction_weighs_what_is_given(
    tmp_path: Path, pictures: Path, run_derma: RunDerma
) -> None:
    bundle = write_bundle(tmp_path / "bundle", patient=PATIENT)
    common = ("predict", pictures, "--model", bundle, "--format", "csv")
    # Old enough for anything to be the first class.
    aged = run_derma(*common, "--age", 120, "--site", "face")[1]
    assert aged != run_derma(*common)[1]
    assert float(aged.splitlines()[2].split(",")[3]) > 0.9
