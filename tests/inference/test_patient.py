"""Age, sex and site beside a picture: what they change, and what can't be made use of."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from doctor_derma.bundle import INFO_FILE, read_info
from doctor_derma.errors import DermaError
from doctor_derma.inference.classifier import Classifier
from doctor_derma.inference.patient import Patient, add_patients, check_patient
from doctor_derma.inference.predict import predict_rows, run_predict
from tiny_bundle import BETWEEN, PATIENT, write_bundle

PICTURE = np.full((30, 40, 3), BETWEEN, np.uint8)


@pytest.fixture
def knowing(tmp_path: Path) -> Classifier:
    """A classifier that takes patient data."""
    return Classifier.load(write_bundle(tmp_path / "knowing", patient=PATIENT))


def test_what_is_known_moves_the_probabilities_by_its_weights(knowing: Classifier) -> None:
    [alone] = knowing.predict(PICTURE)
    [seen] = knowing.predict(PICTURE, patient=Patient(age=70, sex="female", site="back"))
    before, after = (np.array(list(of.probabilities.values())) for of in (alone, seen))
    # An age of 70 is 1 unit, and its square 1: 1.0 + 0.5 for the first class.
    moved = before * np.exp([1.5, 2.0, 1.5])
    np.testing.assert_allclose(after, moved / moved.sum(), rtol=1e-6)
    assert (alone.patient_data, seen.patient_data) == ((), ("age", "sex", "site"))
    np.testing.assert_array_equal(alone.activation_map, seen.activation_map)


def test_rule_and_set_are_of_the_probabilities_with_patient_data(knowing: Classifier) -> None:
    [alone] = knowing.predict(PICTURE)
    [seen] = knowing.predict(PICTURE, patient=Patient(age=90))
    assert (alone.label, seen.label) == ("nv", "mel")
    # Within its own threshold of 0.2 only the most probable class is left.
    assert (len(alone.prediction_set), seen.prediction_set) == (2, ("mel",))


def test_a_model_without_patient_data_says_so(classifier: Classifier) -> None:
    [alone], [nobody] = classifier.predict(PICTURE), classifier.predict(PICTURE, patient=Patient())
    assert alone.probabilities == nobody.probabilities
    with pytest.raises(DermaError, match="age: this model, tiny, looks at pictures alone"):
        classifier.predict(PICTURE, patient=Patient(age=50))
    with pytest.raises(DermaError, match="age: this model, tiny, looks at pictures alone"):
        predict_rows(classifier, [], patient=Patient(age=50))


@pytest.mark.parametrize(
    ("patient", "words"),
    [
        (Patient(age=121), "age: 121 is no age; give years from 0 to 120"),
        (Patient(age=float("nan")), "age: nan is no age"),
        (Patient(sex="unknown"), "sex: 'unknown' is unknown; use female, male"),
        (Patient(site="elbow"), "site: 'elbow' is unknown; use back, face"),
    ],
)
def test_what_is_no_patient_data_is_refused(
    knowing: Classifier, patient: Patient, words: str
) -> None:
    with pytest.raises(DermaError, match=words):
        check_patient(patient, knowing.info)


ages = st.none() | st.floats(0, 120)
patients = st.builds(
    Patient, ages, st.sampled_from([None, "male"]), st.sampled_from([None, "back"])
)


@given(st.lists(st.floats(1e-6, 1), min_size=3, max_size=3), patients)
def test_they_stay_probabilities_and_nothing_known_changes_nothing(
    numbers: list[float], patient: Patient
) -> None:
    probabilities = np.array([numbers]) / sum(numbers)
    found = add_patients(probabilities, [patient], PATIENT)
    assert np.all(found > 0)
    assert found.sum() == pytest.approx(1)
    np.testing.assert_allclose(add_patients(probabilities, [Patient()], PATIENT), probabilities)


def test_files_are_predicted_with_it(
    tmp_path: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = write_bundle(tmp_path / "knowing", patient=PATIENT)
    run_predict([str(pictures)], bundle, "json", patient=Patient(site="back"))
    told = {row["path"]: row["probabilities"] for row in json.loads(capsys.readouterr().out)}
    classifier = Classifier.load(bundle)
    for path, probabilities in told.items():
        [expected] = classifier.predict(path, patient=Patient(site="back"))
        assert probabilities == pytest.approx(expected.probabilities, rel=1e-5)


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "knowing", patient=PATIENT)
    written = json.loads((bundle / INFO_FILE).read_text())
    written["patient"]["weights"].pop()
    (bundle / INFO_FILE).write_text(json.dumps(written))
    with pytest.raises(DermaError, match=r"patient: weights .* are 6 rows of 3"):
        read_info(bundle)
