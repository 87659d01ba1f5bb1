"""The YAML file of a sweep: what is taken, and what is refused in a sentence."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from distributed.tune.sweeps import sweep, write_sweep
from doctor_derma.distributed.tune.sweep import read_sweep
from doctor_derma.errors import DermaError

CONFIGS = Path(__file__).parents[3] / "code" / "configs"
RATE = {"learning_rate": {"loguniform": [1e-4, 1e-2]}}


def test_every_way_to_write_values(tmp_path: Path) -> None:
    space = {
        "learning_rate": {"loguniform": ["1e-4", 1e-2]},
        "dropout": {"uniform": [0, 0.5]},
        "epochs": {"randint": [2, 4]},
        "model": ["resnet18", "eca_resnet18"],
        "mixup": {"choice": [0.0, 0.2]},
    }
    read = sweep(tmp_path, space=space)
    assert {name: values.kind for name, values in read.space.items()} == {
        "learning_rate": "loguniform",
        "dropout": "uniform",
        "epochs": "randint",
        "model": "choice",
        "mixup": "choice",
    }
    assert read.space["learning_rate"].values == (1e-4, 1e-2)
    assert read.space["epochs"].tried() == [2, 3, 4]
    assert (read.metric, read.mode) == ("val_macro_auc", "max")


def test_a_sweep_written_and_read_again_is_the_same(tmp_path: Path) -> None:
    first = sweep(tmp_path, metric="val_loss", space=RATE | {"mixup": [0.0, 0.2]})
    assert first.mode == "min"
    (tmp_path / "again.yaml").write_text(yaml.safe_dump(first.written()))
    assert read_sweep(tmp_path / "again.yaml") == first


def test_base_may_be_the_path_of_a_recipe(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("epochs: 7\nbatch_size: 8\n")
    assert sweep(tmp_path, base="recipe.yaml").base == {"epochs": 7, "batch_size": 8}
    with pytest.raises(DermaError, match=r"missing\.yaml: can't be read"):
        sweep(tmp_path, base="missing.yaml")


def test_weights_of_a_file_in_a_recipe_are_written_again(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("pretrained: true\nweights: x.pth\n")
    written = yaml.safe_dump(sweep(tmp_path, base="recipe.yaml").written())
    assert yaml.safe_load(written)["base"] == {"pretrained": True, "weights": "x.pth"}


def test_older_names_of_settings_are_read_with_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = sweep(tmp_path, base={"views": 2}, space={"prevalence": [0.25, 0.5]})
    assert found.base["tta"] == 2
    assert list(found.space) == ["prior_weight"]
    assert "prevalence is now prior_weight, views is now tta" in capsys.readouterr().err


def test_the_example_is_a_sweep() -> None:
    example = read_sweep(CONFIGS / "sweep.yaml")
    assert example.trials > 1
    assert example.scheduler == "asha"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"trails": 3}, r"trails: no such key of a sweep; the keys are base, space, trials"),
        ({"trials": None}, r"trials: missing"),
        ({"trials": 0}, r"trials: 0: .*greater than or equal to 1"),
        ({"metric": "accuracy"}, r"metric: 'accuracy'"),
        ({"mode": "min"}, r"mode: 'min': val_macro_auc is better at its 'max'"),
        ({"space": {}}, r"space: \{\}"),
        ({"space": {"learning_rat": [1]}}, r"space\.learning_rat: no such setting; the settings"),
        ({"base": {"epoch": 3}}, r"base\.epoch: no such setting"),
        ({"base": {"epochs": 0}}, r"base\.epochs: 0: "),
        ({"space": {"dropout": []}}, r"space\.dropout: \[\]: choice has no values"),
        ({"space": {"dropout": 0.1}}, r"space\.dropout: 0\.1: write a list of values"),
        ({"space": {"dropout": {"normal": [0, 1]}}}, r"space\.dropout: .*: write a list of value"),
        ({"space": {"dropout": {"uniform": [0.5, 0.1]}}}, r"\[0\.5, 0\.1\]: low must be below"),
        ({"space": {"dropout": {"uniform": [0.1]}}}, r"not two numbers"),
        ({"space": {"dropout": {"uniform": [0.1, 1.5]}}}, r"space\.dropout: 1\.5: .*less than 1"),
        ({"space": {"weight_decay": {"loguniform": [0, 1]}}}, r"loguniform takes numbers above 0"),
        ({"space": {"batch_size": {"uniform": [8, 16]}}}, r"space\.batch_size: 11\.05.*integer"),
        ({"space": {"batch_size": {"randint": [8.5, 16]}}}, r"randint takes whole numbers"),
        ({"space": {"model": ["resnet18", "resnet19"]}}, r"space\.model: 'resnet19': "),
        ({"space": {"devices": [1, 2]}}, r"space\.devices: where a trial trains can't be tried"),
        ({"base": {"folds": 3}}, r"base: folds, leave_source_out: a trial is one run; name its"),
        ({"base": {"image_size": "48x64"}}, r"base\.train_size: 112: not the shape of image_size"),
        (
            {
                "space": {"train_size": [64, "48x64"], "start_size": [64]},
                "base": {"image_size": 64},
            },
            r"space\.train_size: '48x64': not the shape of image_size, 64",
        ),
        ({"base": {"devices": 2}}, r"base\.devices: 2: a trial trains in one process"),
        (
            {"space": {"epochs": [4, 9], "validate_every": [1, 2]}},
            r"space\.validate_every: 2 beside epochs 9: the last of 9 epochs would not be",
        ),
        ({"scheduler": "asha", "grace_epochs": 3}, r"grace_epochs: 3: more than the 2 epochs"),
        (
            {"scheduler": "pbt", "space": {"batch_size": [8, 16]}},
            r"space\.batch_size: can't change in the middle of a run",
        ),
        ({"scheduler": "pbt", "search": "optuna"}, r"search: optuna: pbt does its own"),
        ({"scheduler": "pbt", "trials": 1}, r"trials: 1: pbt needs two"),
        ({"scheduler": "pbt", "parallel": 2}, r"parallel: 2: with pbt all trials take turns"),
    ],
)
def test_refused_in_a_sentence(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    path = write_sweep(tmp_path / "wrong.yaml", **changes)
    with pytest.raises(DermaError, match=said) as refused:
        read_sweep(path)
    assert str(refused.value).startswith(f"{path}: ")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "not a sweep"), ("- 1", "not a sweep"), ("trials: [", r"not valid YAML \(line 1\)")],
)
def test_files_that_are_no_sweep(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "sweep.yaml").write_text(text)
    with pytest.raises(DermaError, match=said):
        read_sweep(tmp_path / "sweep.yaml")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DermaError, match=r"none\.yaml: can't be read"):
        read_sweep(tmp_path / "none.yaml")


def test_settings_that_fail_only_together_are_found(tmp_path: Path) -> None:
    """Each value is fine with the base's other settings; 6 epochs and every fourth are not."""
    space = {"epochs": [4, 6, 8], "validate_every": [1, 2, 4], **RATE}
    with pytest.raises(DermaError, match=r"validate_every: 4 beside epochs 6"):
        sweep(tmp_path, space=space)


def test_combinations_that_never_come_are_not_refused(tmp_path: Path) -> None:
    """The base's 5 epochs are not those of any trial."""
    space = {"epochs": [4, 6], "validate_every": [1, 2]}
    read = sweep(tmp_path, base={"epochs": 5}, space=space)
    assert read.space["validate_every"].values == (1, 2)
