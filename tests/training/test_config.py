from pathlib import Path

import pytest
import yaml

from doctor_derma.errors import DermaError
from doctor_derma.training.config import TrainConfig, load_config

CONFIGS = Path(__file__).parents[2] / "code" / "configs"


def test_defaults_yaml_and_flags_stand_over_each_other(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("model: se_resnet34\nepochs: 7\nlearning_rate: 1e-3\n")
    config = load_config(path, {"epochs": "9", "devices": "2"})
    assert (config.model, config.epochs, config.learning_rate) == ("se_resnet34", 9, 0.001)
    assert config.devices == 2
    assert config.batch_size == TrainConfig().batch_size
    assert load_config(None, {}) == TrainConfig()


def test_settings_survive_the_way_through_yaml(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    config = TrainConfig(model="timm/convnext_atto", mixup=0.2, devices="auto", zoom=1.25)
    path.write_text(yaml.safe_dump(config.model_dump()))
    assert load_config(path, {}) == config


def test_a_size_is_one_number_or_height_and_width(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("image_size: 144x192\ntrain_size: 96X128\nstart_size: 48x64\n")
    config = load_config(path, {})
    assert config.image_size == (144, 192)
    written = config.model_dump()
    assert (written["image_size"], written["train_size"]) == ("144x192", "96x128")
    assert TrainConfig.model_validate(written) == config
    square = load_config(None, {"image_size": "64x64", "train_size": "64"})
    assert square.image_size == square.train_size == (64, 64)
    # As recipes always were.
    assert square.model_dump(mode="json")["image_size"] == 64
    assert yaml.safe_load(yaml.safe_dump(square.model_dump()))["train_size"] == 64


def test_an_empty_file_leaves_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "empty.yaml"
    path.write_text("# nothing yet\n")
    assert load_config(path, {}) == TrainConfig()


# A sweep is no recipe; tests/distributed/tune reads it.
RECIPES = sorted(path for path in CONFIGS.glob("*.yaml") if path.name != "sweep.yaml")


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_shipped_recipes_are_valid(path: Path) -> None:
    assert load_config(path, {"model": "eca_resnet18"}).model == "eca_resnet18"


@pytest.mark.parametrize(
    ("text", "flags", "message"),
    [
        ("epoch: 3", {}, "{path}: epoch: no such setting; the settings are model, pretrained"),
        ("epochs: many", {}, "{path}: epochs: 'many': Input should be a valid integer"),
        ("epochs: 0", {}, "{path}: epochs: 0: Input should be greater than or equal to 1"),
        ("dropout: 1.0", {}, "{path}: dropout: 1.0: Input should be less than 1"),
        ("tta: 3", {}, "{path}: tta: 3: use one of 1, 2, 4, 8"),
        (
            "tta: 8\nimage_size: 48x64\ntrain_size: 48x64\nstart_size: 48x64",
            {},
            "{path}: tta: 8: some of them are quarter turns, which need a square and not 48x64;",
        ),
        ("folds: 1", {}, "{path}: folds: 1: one fold leaves nothing to train on; use two or more"),
        ("fold: 0", {}, "{path}: fold: 0: no such fold; say how many there are with folds"),
        ("folds: 5\nfold: 5", {}, "{path}: fold: 5: no such fold; use 0 to 4"),
        (
            "folds: 5\nleave_source_out: here",
            {},
            "{path}: leave_source_out: 'here': a run leaves out a fold or a source;",
        ),
        ("folds: 5\nrefit: true", {}, "{path}: refit: True: a refit leaves out no fold; leave one"),
        (
            "refit: true",
            {"leave_source_out": "here"},
            "--leave-source-out: 'here': a refit leaves out no source; leave one of the two",
        ),
        ("weights: x.pth", {}, "{path}: weights: 'x.pth': nothing reads it without pretrained;"),
        ("image_size: 144*192", {}, "{path}: image_size: '144*192': write a number of pixels, or"),
        ("image_size: 16x64", {}, "{path}: image_size: '16x64': a side is under 32 pixels; use"),
        ("image_size: true", {}, "{path}: image_size: True: write a number of pixels"),
        ("image_size: 1e2", {}, "{path}: image_size: '1e2': write a number of pixels"),
        (
            "image_size: 144x192\ntrain_size: 144x192",
            {},
            "{path}: start_size: 48: not the shape of image_size, 144x192; all three sizes need",
        ),
        (
            "epochs: 3",
            {"image_size": "48x64", "train_size": "64x48"},
            "--train-size: '64x48': not the shape of image_size, 48x64",
        ),
        ("imbalance: focal", {}, "{path}: imbalance: 'focal': Input should be 'none', 'weighted'"),
        ("model: resnet19", {}, "{path}: model: 'resnet19': no network named 'resnet19'; use"),
        ("model: 5", {}, "{path}: model: 5: Input should be a valid string"),
        (
            "epochs: 5\nvalidate_every: 2",
            {},
            "{path}: validate_every: 2: the last of 5 epochs would",
        ),
        ("zoom: .nan", {}, "{path}: zoom: nan: Input should be greater"),
        ("epochs: 3", {"batch_size": "1"}, "--batch-size: '1': Input should be greater"),
        ("epochs: 3", {"epochs": "x"}, "--epochs: 'x': Input should be a valid integer"),
        ("epochs: [3", {}, "{path}: not valid YAML (line 1); write one 'key: value' a line"),
        ("epochs: 3\n\tmodel: x", {}, "{path}: not valid YAML (line 2); write"),
        ("- epochs", {}, "{path}: not a mapping of settings; write one 'key: value' a line"),
        ("just words", {}, "{path}: not a mapping of settings"),
    ],
)
def test_mistakes_are_one_line_that_names_the_setting(
    text: str, flags: dict[str, str], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(DermaError) as caught:
        load_config(path, flags)
    assert str(caught.value).startswith(message.format(path=path))
    assert "\n" not in str(caught.value)


def test_the_recipe_for_ham10000_from_scratch_is_the_default() -> None:
    shipped = load_config(CONFIGS / "ham10000.yaml", {})
    assert shipped == TrainConfig(validate_every=4)
    assert not shipped.pretrained


def test_older_names_of_settings_are_read_with_one_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("prevalence: 0.25\nviews: 2\n")
    config = load_config(path, {})
    assert (config.prior_weight, config.tta) == (0.25, 2)
    assert capsys.readouterr().err == (
        f"{path}: prevalence is now prior_weight, views is now tta; "
        "the older name is read for one more release\n"
    )
    # A flag under either name stands over the file.
    assert load_config(path, {"tta": "4"}).tta == 4
    assert load_config(None, {"views": "4", "prior_weight": "1"}).tta == 4
    assert "--views is now --tta" in capsys.readouterr().err
    assert set(config.model_dump()) == set(TrainConfig.model_fields)


def test_a_run_of_before_is_read_without_a_word(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.yaml"
    written = TrainConfig().model_dump()
    written["prevalence"], written["views"] = 0.75, 8
    del written["prior_weight"], written["tta"]
    path.write_text(yaml.safe_dump(written))
    config = load_config(path, {}, warn=False)
    assert (config.prior_weight, config.tta) == (0.75, 8)
    assert TrainConfig.model_validate(written) == config
    assert capsys.readouterr().err == ""


def test_a_setting_under_both_names_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("views: 2\ntta: 2\n")
    with pytest.raises(DermaError, match="views and tta are one setting; leave the first of them"):
        load_config(path, {})
    with pytest.raises(DermaError, match=r"^--prevalence and --prior-weight are one setting"):
        load_config(None, {"prevalence": "1", "prior_weight": "1"})


def test_files_that_can_not_be_read(tmp_path: Path) -> None:
    with pytest.raises(DermaError, match=r"nowhere\.yaml: can't be read \(No such file"):
        load_config(tmp_path / "nowhere.yaml", {})
    with pytest.raises(DermaError, match=r"can't be read \(Is a directory\); check --config"):
        load_config(tmp_path, {})
    (tmp_path / "picture.yaml").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(DermaError, match=r"picture\.yaml: not valid YAML"):
        load_config(tmp_path / "picture.yaml", {})
