"""Runs that leave a fold or a source out: each image predicted by a network that never saw it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from doctor_derma.bundle import read_info
from doctor_derma.commands.leaving_out import train_leaving_out
from doctor_derma.commands.models import find_bundle, predict
from doctor_derma.commands.runs import resume_run, start_run
from doctor_derma.data.manifest import Dataset, read_dataset, write_dataset
from doctor_derma.errors import DermaError
from doctor_derma.export.out_of_fold import read_out_of_fold
from doctor_derma.inference.classifier import Classifier
from doctor_derma.tracking.registry import fetch_champion
from doctor_derma.training.folds import parts_of
from doctor_derma.training.loop import train
from doctor_derma.training.runs import Run, RunIsBusy, locked, open_run
from doctor_derma.workspace import Workspace
from project import copy_data, import_lesions, new_run, recipe, shallow, without_foreign

FOLDS = {"model": shallow(), "folds": 2, "epochs": 1}


class CountedFit:
    """Trains, remembers which runs it was asked for, and stops at one of them."""

    def __init__(self, stop_at: str | None = None) -> None:
        self.asked: list[str] = []
        self.stop_at = stop_at

    def __call__(self, run: Run, dataset: Dataset, on_epoch: Any) -> bool:
        self.asked.append(run.name)
        if run.name == self.stop_at:
            raise KeyboardInterrupt
        return train(run, dataset, on_epoch)


@pytest.fixture(scope="module")
def folded(lesions: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """Two folds, stopped at the second and gone on with."""
    with without_foreign():
        workspace = Workspace(copy_data(lesions, tmp_path_factory.mktemp("folded")))
        with pytest.raises(KeyboardInterrupt):
            train_leaving_out(workspace, recipe(**FOLDS), "cv", CountedFit("cv-fold1"))
        again = CountedFit()
        found = train_leaving_out(workspace, recipe(**FOLDS), "cv", again)
        assert again.asked == ["cv-fold1"]
        assert found is not None
        assert found.unfinished == []
        assert found.file == workspace.runs / "cv" / "out_of_fold.csv"
        yield workspace


def test_every_image_of_training_and_validation_is_predicted_once(folded: Workspace) -> None:
    dataset = read_dataset(folded.data)
    table = read_out_of_fold(folded.runs / "cv" / "out_of_fold.csv")
    known = dataset.table[dataset.table["split"] != "test"]
    assert table["image"].tolist() == known["image"].tolist()
    assert table["class"].tolist() == known["class"].tolist()
    for fold in range(2):
        config = open_run(folded.runs, f"cv-fold{fold}").config
        trained = dataset.table.iloc[parts_of(dataset, config).train]
        predicted = table[table["fold"] == fold]
        assert not set(trained["lesion"]) & set(predicted["lesion"])
        assert len(trained) + len(predicted) == len(known)


def test_the_logits_are_those_of_the_network_of_the_fold(folded: Workspace) -> None:
    dataset = read_dataset(folded.data)
    table = read_out_of_fold(folded.runs / "cv" / "out_of_fold.csv")
    by_image = dataset.table.set_index("image")
    for fold, rows in table.groupby("fold"):
        classifier = Classifier.load(find_bundle(folded, f"cv-fold{fold}"))
        row = rows.iloc[0]
        [prediction] = classifier.predict([dataset.folder / by_image["path"][row["image"]]])
        info = classifier.info
        shares = np.log(info.class_shares)
        logits = row[[f"logit_{name}" for name in dataset.classes]].to_numpy(dtype=float)
        evidence = (logits + info.prior_weight * shares) / info.temperature
        expected = np.exp(evidence) / np.exp(evidence).sum()
        found = [prediction.probabilities[name] for name in dataset.classes]
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_bundle_of_a_fold_is_fitted_to_its_own_images(folded: Workspace) -> None:
    dataset = read_dataset(folded.data)
    run = open_run(folded.runs, "cv-fold0")
    parts = parts_of(dataset, run.config)
    info = read_info(run.bundle)
    assert info.conformal.images == info.ood.images == len(parts.val)
    assert info.data.images["train"] == len(parts.train)
    trained = np.array(dataset.targets(dataset.table.iloc[parts.train]))
    shares = np.bincount(trained) / len(trained)
    np.testing.assert_allclose(info.class_shares, shares)


def test_a_finished_fold_is_left_alone_and_an_ordinary_run_all_the_same(folded: Workspace) -> None:
    fit = CountedFit()
    assert train_leaving_out(folded, recipe(**FOLDS, fold=0), "cv", fit) is not None
    assert fit.asked == []
    before = (folded.runs / "cv-fold1" / "out_of_fold.csv").read_bytes()
    resumed = resume_run(folded, "cv-fold1")
    assert resumed is not None
    assert resumed.config.fold == 1
    assert (resumed.folder / "out_of_fold.csv").read_bytes() == before


def test_figures_of_images_that_a_fold_was_trained_on_are_not_to_be_trusted(
    folded: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = read_dataset(folded.data)
    predict(folded, "cv-fold0", dataset, "val")
    assert "was validated with a fold and trained on the others" in capsys.readouterr().err
    predict(folded, "cv-fold0", dataset, "test")
    assert "fold" not in capsys.readouterr().err.replace("cv-fold0", "")


def test_runs_that_were_judged_by_a_fold_are_no_candidates(folded: Workspace) -> None:
    with pytest.raises(DermaError, match="no champion of"):
        fetch_champion(folded, read_dataset(folded.data).info.name)


def test_other_settings_or_data_are_refused(folded: Workspace, tmp_path: Path) -> None:
    with pytest.raises(DermaError, match=r"cv-fold0: began with another noise, 0\.0 and not 0\.2"):
        train_leaving_out(folded, recipe(**FOLDS, noise=0.2), "cv")
    with pytest.raises(DermaError, match="--devices, --nodes: runs in turn take one device each"):
        train_leaving_out(folded, recipe(**FOLDS, devices=2), "other")
    with pytest.raises(DermaError, match=r"where the images .* are from isn't known"):
        train_leaving_out(folded, recipe(leave_source_out="all"), "other")
    assert not (folded.runs / "other").exists()


def test_one_fold_alone_waits_for_the_others(root: Path) -> None:
    workspace = Workspace(root)
    found = train_leaving_out(workspace, recipe(**FOLDS, fold=1), None)
    assert found is not None
    assert found.file is found.table is None
    assert found.unfinished == ["timm-test_shallow-fold0"]
    assert (workspace.runs / "timm-test_shallow-fold1" / "out_of_fold.csv").is_file()


def test_a_fold_that_another_process_trains_is_left_to_it(root: Path) -> None:
    workspace = Workspace(root)
    run = new_run(root, "cv-fold0", **FOLDS, fold=0)
    fit = CountedFit("cv-fold1")
    with locked(run):
        with pytest.raises(KeyboardInterrupt):
            train_leaving_out(workspace, recipe(**FOLDS), "cv", fit)
        with pytest.raises(RunIsBusy, match="cv-fold0: another process trains this run; wait"):
            resume_run(workspace, "cv-fold0")
    assert fit.asked == ["cv-fold1"]
    assert open_run(workspace.runs, "cv-fold0") == run


def test_a_run_that_was_snatched_away_is_not_removed(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process may find a new folder and go on with it before it is locked."""
    from doctor_derma.commands import runs

    made = runs.create_run
    holders = []

    def snatched(*arguments: Any) -> Run:
        run = made(*arguments)
        holders.append(locked(run))
        holders[0].__enter__()
        return run

    monkeypatch.setattr(runs, "create_run", snatched)
    with pytest.raises(RunIsBusy):
        start_run(Workspace(root), recipe(), "first")
    holders[0].__exit__(None, None, None)
    assert open_run(Workspace(root).runs, "first").name == "first"


def test_sources_are_left_out_in_turn(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    import_lesions(workspace.data, each=24)
    table = read_dataset(workspace.data).table
    # Each source has lesions of every class in every split.
    number = table.groupby(["class", "split"])["lesion"].transform(lambda of: pd.factorize(of)[0])
    table["source"] = np.where(number % 2, "clinic", "archive")
    write_dataset(workspace.data, read_dataset(workspace.data).info, table)
    dataset = read_dataset(workspace.data)
    config = recipe(model=shallow(), leave_source_out="all", epochs=1)
    found = train_leaving_out(workspace, config, "away")
    assert found is not None
    assert found.file == workspace.runs / "away" / "out_of_source.csv"
    predicted = read_out_of_fold(found.file)
    known = dataset.table[dataset.table["split"] != "test"]
    assert predicted["image"].tolist() == known["image"].tolist()
    assert predicted["source"].tolist() == known["source"].tolist()
    info = read_info(find_bundle(workspace, "away-without-clinic"))
    at_home = (known["source"] == "archive") & (known["split"] == "val")
    # The thresholds are those of home, so that the source is new to them as well.
    assert info.conformal.images == info.ood.images == at_home.sum()
