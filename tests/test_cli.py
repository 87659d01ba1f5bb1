"""The command line: the whole loop, and every mistake in one line."""

import csv
import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from data.pictures import class_folders, encoded, picture, write
from doctor_derma import __version__
from doctor_derma.bundle import read_card, read_info
from doctor_derma.commands import app as entry
from doctor_derma.workspace import Workspace
from project import (
    SMALLEST,
    Project,
    RunDerma,
    copy_data,
    derma,
    flags,
    largest_file,
    own_environment,
    shallow,
    train_tiny,
    without_foreign,
)
from tiny_bundle import write_bundle


@pytest.fixture(scope="module")
def trained(lesions: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A root with a finished run of a network that is soon exported again."""
    with without_foreign():
        root = copy_data(lesions, tmp_path_factory.mktemp("trained"))
        return train_tiny(root, "tiny", model=shallow())


def test_the_whole_loop(run_derma: RunDerma, database: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    workspace = Workspace(root)
    workspace.tracking_database.parent.mkdir(parents=True)
    shutil.copy(database, workspace.tracking_database)

    def step(*arguments: object) -> tuple[str, str]:
        code, output, error = run_derma("--root", root, *arguments)
        assert code == 0, error
        return output, error

    output, _ = step("data", "synthesize", "--images", 84)
    assert "84 images seen: 84 kept, 0 left out" in output
    output, _ = step("data", "describe")
    assert (workspace.data / "description.png").is_file()

    names = {"first": SMALLEST, "second": shallow()}
    for name, model in names.items():
        output, error = step("train", "--name", name, *flags(model=model, batch_size=8))
        assert f"Next: derma evaluate {name}" in output
        assert "epoch 2/2" in error
        assert "Successfully registered" not in error + output
        assert "Downloading artifacts" not in error + output
    output, _ = step("evaluate", "first")
    assert "balanced accuracy" in output.lower()
    figures = json.loads((workspace.evaluation_images / "first" / "metrics.json").read_text())
    assert figures["split"] == "test"
    assert (workspace.evaluation_images / "first" / "report.html").is_file()
    assert figures["rule"] == "balanced"
    assert list(figures["rules"]) == ["balanced", "most-probable", "melanoma-first"]
    step("compare", "first", "second", "--no-gallery")
    comparison = workspace.evaluation_images / "comparison"
    assert (comparison / "report.html").is_file()
    assert not list(comparison.glob("gallery*"))
    output, _ = step("compare", "--over-seeds", "first", "second")
    assert "One seed says nothing" in " ".join(output.split())
    seeds = workspace.evaluation_images / "seeds"
    assert json.loads((seeds / "metrics.json").read_text())["seeds"] == [0]
    assert "test_resnet" in (seeds / "cost.csv").read_text()
    error = refusal(run_derma, "--root", root, "compare", "--over-seeds", "first", "first")
    assert f"first and first are both {SMALLEST} with seed 0; name one run" in error

    output, _ = step("audit", "first", "--only", "coverage", "--only", "calibration")
    assert "Prediction sets with a target of 95%" in output
    audits = workspace.evaluation_images / "audits" / "first"
    assert {path.name for path in (audits / "coverage").iterdir()} == {
        *("coverage.csv", "coverage.png", "provenance.json", "tables.txt")
    }
    assert {path.stem for path in (audits / "calibration").glob("*.png")} == {
        *("reliability_before", "reliability_weighted", "reliability_shipped")
    }
    error = refusal(run_derma, "--root", root, "audit", "first", "--only", "luck")
    assert "audit 'luck': unknown; use calibration, coverage, unfamiliar" in error

    output, _ = step("card", "first")
    assert "Not in it: robustness, was not measured" in output
    assert "Not in it: coverage" not in output
    card = read_card(workspace.runs / "first" / "bundle")
    assert f"| {figures['images']} |" in card
    assert "Prediction sets with a target of 95%" in card

    output, _ = step("export", "second", "--to", tmp_path / "bundle")
    assert read_info(tmp_path / "bundle").class_names[4] == "mel"
    step("promote", "first")
    champion = read_info(workspace.champion)
    assert champion.name == "first"
    assert champion.metrics["test"] == {
        name: metric["value"]
        for name, metric in figures["metrics"].items()
        if metric["value"] is not None
    }
    output, _ = step("promote", "--to", tmp_path / "best")
    best = read_info(tmp_path / "best")
    scores = {
        name: read_info(workspace.runs / name / "bundle").metrics["val"]["balanced_accuracy"]
        for name in names
    }
    assert scores[best.name] == max(scores.values())

    pictures = tmp_path / "pictures"
    write(pictures / "good.jpg", encoded(picture(1)))
    write(pictures / "bad.jpg", b"no picture")
    code, output, error = run_derma("--root", root, "predict", pictures, "--format", "csv")
    assert code == 1
    assert "Traceback" not in error
    bad, good = csv.DictReader(output.splitlines())
    assert list(good) == ["path", "label", "rule", *champion.class_names, "error"]
    assert (good["rule"], bad["rule"]) == ("balanced", "")
    assert (bad["path"], bad["label"]) == (str(pictures / "bad.jpg"), "")
    assert "not a picture" in bad["error"]
    assert good["error"] == ""
    assert sum(float(good[name]) for name in champion.class_names) == pytest.approx(1, abs=1e-4)


def refusal(run_derma: RunDerma, *arguments: object) -> str:
    """Run a command that must end as a mistake does; return what it says."""
    code, _, error = run_derma(*arguments)
    assert code == 2
    return error


def test_imports(run_derma: RunDerma, tmp_path: Path) -> None:
    source = tmp_path / "source"
    class_folders(source, {"a": 8, "b": 8})
    root = tmp_path / "root"
    code, output, _ = run_derma(
        "--root", root, "data", "import", "folder", source, "--val", 0.2, "--licence", "CC0"
    )
    assert code == 0
    assert "16 images seen: 16 kept" in output
    described = json.loads((root / "data" / "dataset.json").read_text())
    assert described["licence"] == "CC0"
    code, output, _ = run_derma("--root", root, "data", "describe")
    assert code == 0
    assert "16" in output


def ham10000(folder: Path, header: str = "lesion_id,image_id,dx,dx_type,age,sex,localization"):
    write(folder / "HAM10000_images_part_1" / "one.jpg", encoded(picture(1)))
    (folder / "HAM10000_metadata.csv").write_text(f"{header}\nl1,one,nv,histo,40,male,back\n")
    return folder


def one_lesion(folder: Path) -> Path:
    class_folders(folder, {"a": 8, "rare": 1})
    return folder


def with_yaml(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.yaml").write_text(text)
    return folder / "recipe.yaml"


def class_folder(folder: Path) -> Path:
    class_folders(folder, {"a": 8})
    return folder


def empty(folder: Path) -> Path:
    folder.mkdir()
    return folder


MISTAKES: dict[str, tuple[Callable[[Path], list[object]], str]] = {
    "no data": (lambda tmp: ["train"], "manifest.csv: no data set here; run 'derma data import"),
    "no data to describe": (lambda tmp: ["data", "describe"], "no data set here; run"),
    "no data to evaluate on": (lambda tmp: ["evaluate", "x"], "no data set here; run"),
    "no folder": (lambda tmp: ["data", "import", "folder", tmp / "gone"], "gone: no such folder"),
    "empty folder": (
        lambda tmp: ["data", "import", "folder", empty(tmp / "nothing")],
        "nothing: no class folders with images",
    ),
    "one class": (
        lambda tmp: ["data", "import", "folder", class_folder(tmp / "one")],
        "only class 'a' is in the source; a classifier needs images of at least two",
    ),
    "one lesion": (
        lambda tmp: ["data", "import", "folder", one_lesion(tmp / "rare")],
        "class 'rare' has 1 lesion, too few to put one into each of train, val, test; add",
    ),
    "shares": (
        lambda tmp: ["data", "synthesize", "--images", "70", "--val", "0.6", "--test", "0.6"],
        "both shares must be above 0 and their sum below 1",
    ),
    "no metadata": (
        lambda tmp: ["data", "import", "ham10000", empty(tmp / "ham")],
        "HAM10000_metadata.csv: not found; name the folder",
    ),
    "wrong column": (
        lambda tmp: [
            "data",
            "import",
            "ham10000",
            ham10000(tmp / "ham", "lesion_id,image_id,diagnosis,dx_type,age,sex,localization"),
        ],
        "HAM10000_metadata.csv: column 'dx' is missing (found lesion_id, image_id, diagnosis",
    ),
    "unknown model": (
        lambda tmp: ["train", "--model", "resnet19"],
        "--model: 'resnet19': no network named 'resnet19'; use one of resnet18",
    ),
    "broken YAML": (
        lambda tmp: ["train", "--config", with_yaml(tmp, "epochs: [3\n")],
        "recipe.yaml: not valid YAML (line 2); write one 'key: value' a line",
    ),
    "unknown setting": (
        lambda tmp: ["train", "--config", with_yaml(tmp, "epoch: 3\n")],
        "recipe.yaml: epoch: no such setting; the settings are model,",
    ),
    "bad value": (
        lambda tmp: ["train", "--epochs", "many"],
        "--epochs: 'many': Input should be a valid integer",
    ),
    "unknown flag": (lambda tmp: ["train", "--epoch", "3"], "No such option: --epoch"),
    "unknown command": (lambda tmp: ["retrain"], "No such command 'retrain'"),
    "missing argument": (lambda tmp: ["evaluate"], "Missing argument 'run'; see 'derma evaluate"),
    "resume with settings": (
        lambda tmp: ["train", "--resume", "a", "--epochs", "3"],
        "--resume: goes on with the run's own settings; leave the others out",
    ),
    "no champion to predict with": (lambda tmp: ["predict", tmp], "no pictures in this folder"),
    "no bundle": (
        lambda tmp: ["predict", __file__, "--model", tmp / "gone"],
        "gone: no model bundle here (model.json is missing); make one with",
    ),
    "no bundle to serve": (
        lambda tmp: ["serve", "--model", tmp / "gone"],
        "gone: no model bundle here",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line(mistake: str, run_derma: RunDerma, tmp_path: Path) -> None:
    arguments, message = MISTAKES[mistake]
    root = tmp_path / "root"
    error = refusal(run_derma, "--root", root, *arguments(tmp_path))
    said = error.splitlines()
    assert [line for line in said if line.strip()] == [said[-1]]
    assert said[-1].startswith("derma: ")
    assert message in said[-1]
    left = [path for path in root.rglob("*") if path.is_file()] if root.exists() else []
    assert left == []


def test_mistakes_where_there_are_data(run_derma: RunDerma, lesions: Path, tmp_path: Path) -> None:
    root = copy_data(lesions, tmp_path / "root")
    for arguments, message in (
        (["train", "--resume", "gone"], "gone: no such run; none was trained yet"),
        (["evaluate", "gone"], "gone: no such run; none was trained yet"),
        (["compare", "gone", "lost"], "gone: no such run; none was trained yet"),
        (["export", "gone"], "gone: no such run; none was trained yet"),
        (["evaluate", "champion"], "champion: no model bundle here"),
        (["promote", "gone"], "gone: no such run; none was trained yet"),
        (["promote"], "no champion of 'doctor-derma-synthetic'"),
        (["train", "--name", "../x", *flags()], "--name ../x: not a name for a run"),
        (["train", *flags(model="timm/test_vit"), "--name", "vit"], "no feature maps"),
    ):
        code, _, error = run_derma("--root", root, *arguments)
        lines = [line for line in error.splitlines() if line.strip()]
        assert code == 2, arguments
        assert len(lines) == 1, error
        assert message in lines[0]
    assert not list((root / "mlflow" / "runs").glob("*"))


def test_a_run_that_is_not_there_names_those_that_are(
    run_derma: RunDerma, trained: Project
) -> None:
    error = refusal(run_derma, "--root", trained.workspace.root, "evaluate", "tine")
    assert "tine: no such run; the runs are tiny" in error


@pytest.mark.usefixtures("undrawn")
def test_rules_and_costs_from_export_to_evaluation(
    run_derma: RunDerma, trained: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = tmp_path / "images"
    monkeypatch.setattr(Workspace, "evaluation_images", property(lambda self: images))
    root = trained.workspace.root
    costs = tmp_path / "costs.yaml"
    costs.write_text("costs: {mel: {nv: 20}}\n")
    bundle = tmp_path / "bundle"
    code, _, error = run_derma("--root", root, "export", "tiny", "--to", bundle, "--costs", costs)
    assert code == 0, error
    decision = read_info(bundle).decision
    assert (decision.default, decision.costs) == ("balanced", {"mel": {"nv": 20.0}})
    assert "| mel | nv | 20 |" in read_card(bundle)

    code, output, error = run_derma("--root", root, "evaluate", bundle, "--rule", "costs")
    assert code == 0, error
    assert "Calling by the rule costs" in output
    # Not the bundle's own rule: beside its figures, not in their place.
    figures = json.loads((images / "tiny-costs" / "metrics.json").read_text())
    assert figures["rule"] == "costs"
    assert figures["rules"]["costs"]["accuracy"] == figures["metrics"]["accuracy"]
    assert not (images / "tiny").exists()

    dear = tmp_path / "dear.yaml"
    dear.write_text("costs: {vasc: {mel: 9, nv: 9, bcc: 9, bkl: 9, df: 9, akiec: 9}}\n")
    picture = trained.workspace.data / trained.dataset.table["path"][0]
    predict = ["--root", root, "predict", picture, "--model", bundle, "--format", "json"]
    for chosen, rule in (
        ([], "balanced"),
        (["--rule", "melanoma-first"], "melanoma-first"),
        (["--costs", dear], "costs"),
    ):
        code, output, error = run_derma(*predict, *chosen)
        assert code == 0, error
        assert json.loads(output)[0]["rule"] == rule

    dear.write_text("costs: {melanoma: {nv: 9}}\n")
    export = ["--root", root, "export", "tiny"]
    for arguments, sentence in (
        ([*predict, "--costs", dear], "costs: class 'melanoma' is unknown; this model has akiec"),
        ([*predict, "--costs", tmp_path / "no.yaml"], "no.yaml: can't be read (No such file"),
        ([*predict[:4], "--url", "http://localhost:1", "--costs", costs], "leave --costs out"),
        ([*export, "--precision", "int8", "--costs", costs], "--costs: an int8 bundle keeps"),
        ([*export, "--to", bundle, "--costs", dear], "costs: class 'melanoma' is unknown"),
        ([*export, "--to", bundle, "--rule", "costs"], "this model has no costs; use balanced"),
    ):
        error = refusal(run_derma, *arguments)
        assert sentence in error
        assert len(error.splitlines()) == 1


def test_older_flags_are_read_with_a_warning(
    run_derma: RunDerma, trained: Project, tmp_path: Path
) -> None:
    root, bundle = trained.workspace.root, tmp_path / "bundle"
    export = ["--root", root, "export", "tiny", "--to", bundle]
    code, _, error = run_derma(*export, "--prevalence", 1, "--views", 2)
    assert code == 0, error
    assert (read_info(bundle).prior_weight, read_info(bundle).tta) == (1, 2)
    assert error.splitlines()[0] == (
        "--prevalence is now --prior-weight, --views is now --tta; "
        "the older name is read for one more release"
    )
    error = refusal(run_derma, *export, "--views", 2, "--tta", 2)
    assert "--views and --tta are one setting; leave the first of them out" in error
    error = refusal(run_derma, "--root", root, "train", *flags(views=3))
    assert "--tta: '3': use one of 1, 2, 4, 8" in error.splitlines()[-1]
    assert "--views" not in run_derma("train", "--help")[1]


def test_other_peoples_folders_are_not_replaced(
    run_derma: RunDerma, trained: Project, tmp_path: Path
) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    for command in (["export", "tiny"], ["promote", "tiny"]):
        error = refusal(run_derma, "--root", trained.workspace.root, *command, "--to", tmp_path)
        assert "holds other files and no model.json; name a new or empty folder" in error
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_classes_that_are_not_those_of_the_data(
    run_derma: RunDerma, trained: Project, tmp_path: Path
) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    error = refusal(run_derma, "--root", trained.workspace.root, "evaluate", bundle)
    assert "its classes (mel, nv, vasc) are not those of" in error


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_full_or_locked_disk_is_one_line(
    code: int, run_derma: RunDerma, lesions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = copy_data(lesions, tmp_path / "root")

    def refuse(self: Path, *args: object, **kwargs: object) -> int:
        raise OSError(code, "No space left on device", str(self))

    monkeypatch.setattr(Path, "write_text", refuse)
    exit_code, _, error = run_derma("--root", root, "train", "--name", "full", *flags())
    assert exit_code == 2
    [line] = [line for line in error.splitlines() if line.strip()]
    assert "config" in line
    assert "No space left on device; free space or check who may write" in line
    assert not [path for path in root.rglob("*") if "full" in path.parts]


def test_a_disk_that_fills_up_in_training_is_one_line(
    run_derma: RunDerma, lesions: Path, tmp_path: Path
) -> None:
    root = copy_data(lesions, tmp_path / "root")
    with largest_file(2_000_000):
        error = refusal(run_derma, "--root", root, "train", "--name", "full", *flags(epochs=1))
    [*_, line] = [line for line in error.splitlines() if line.strip()]
    checkpoints = root / "mlflow" / "runs" / "full" / "checkpoints"
    assert line == (
        f"derma: {checkpoints / 'best.ckpt'}: File too large; free space or check who may write"
    )
    assert list(checkpoints.iterdir()) == []
    assert run_derma("--root", root, "train", "--resume", "full")[0] == 0


def test_other_errors_of_the_system_are_no_mistake_of_the_user(
    run_derma: RunDerma, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(entry, "app", fail)
    with pytest.raises(OSError, match="Input/output"):
        run_derma("--version")


@pytest.mark.parametrize(("package", "extra"), [("torch", "train"), ("ray.data", "scale")])
def test_a_package_that_is_not_installed_says_how_to_get_it(
    package: str, extra: str, run_derma: RunDerma, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise ModuleNotFoundError(f"No module named '{package}'", name=package)

    monkeypatch.setattr(entry, "app", fail)
    install = f"install it with: pip install 'doctor-derma[{extra}]'"
    assert refusal(run_derma, "train") == f"derma: {package} is not installed; {install}\n"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["train", "--workers", "2"], "--workers: needs --engine ray"),
        (["predict", "x.jpg", "--out", "scores"], "--out: needs --engine ray"),
        (["predict", "x.jpg", "--engine", "ray"], "--engine ray: give the folder"),
        (
            ["predict", "x.jpg", "--engine", "ray", "--out", "s", "--format", "csv"],
            "writes Parquet",
        ),
        (["tune"], "give --config for a new sweep, or --resume"),
        (["tune", "--resume", "a", "--name", "b"], "leave --name out"),
    ],
)
def test_flags_of_ray_need_ray_and_the_other_way_round(
    run_derma: RunDerma, arguments: list[str], reason: str
) -> None:
    error = refusal(run_derma, *arguments)
    assert reason in error
    assert len(error.splitlines()) == 1


def test_without_a_home_directory_there_is_a_sentence(lesions: Path, tmp_path: Path) -> None:
    """As in a container that runs as some number; MLflow asks for it when it is imported."""
    (tmp_path / "sitecustomize.py").write_text(
        "import pwd\n"
        "def getpwuid(uid): raise KeyError(f'uid not found: {uid}')\n"
        "pwd.getpwuid = getpwuid\n"
    )
    root = copy_data(lesions, tmp_path / "root")
    kept = {name: value for name, value in own_environment().items() if name != "HOME"}
    environment = kept | {"PYTHONPATH": str(tmp_path), "DERMA_ROOT": str(root)}
    for arguments in (
        ["promote"],
        ["predict", "~/mole.jpg"],
        ["--root", "~/x", "data", "describe"],
    ):
        done = derma(*arguments, env=environment)
        assert done.returncode == 2
        # Before it, Matplotlib may say where it keeps its cache instead.
        assert done.stderr.splitlines()[-1] == (
            "derma: no home directory is known; set HOME to a folder of yours, and write no ~ in "
            "paths"
        )
        assert "Traceback" not in done.stderr
    done = derma("data", "describe", env=environment)
    assert done.returncode == 0, done.stderr


def test_a_root_that_is_no_utf_8_is_refused(run_derma: RunDerma, tmp_path: Path) -> None:
    root = tmp_path / os.fsdecode(b"gr\xfcn [x]")
    error = refusal(run_derma, "--root", root, "data", "synthesize", "--images", 70)
    assert "its name is not in UTF-8, so that MLflow and ONNX can't open" in error
    assert not root.exists()


def test_names_that_can_not_be_printed_end_nothing(tmp_path: Path) -> None:
    source = tmp_path / os.fsdecode(b"quelle \xfc")
    class_folders(source, {"a": 4, "b": 4})
    done = derma("--root", tmp_path / "root", "data", "import", "folder", source)
    assert done.returncode == 0, done.stderr
    done = derma("--root", tmp_path / "root", "data", "import", "folder", source / "gone")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "\\udcfc" in done.stderr


def test_the_root_may_come_from_the_environment(lesions: Path, tmp_path: Path) -> None:

    done = derma("data", "describe", cwd=tmp_path, env=own_environment(DERMA_ROOT=str(lesions)))
    assert done.returncode == 0, done.stderr
    assert "akiec" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_version_and_help(run_derma: RunDerma) -> None:
    assert run_derma("--version")[:2] == (0, f"{__version__}\n")
    code, output, error = run_derma()
    assert code == 2
    assert "Not a medical device" in output
    assert error == ""
    code, output, _ = run_derma("train", "--help")
    assert code == 0
    for option in ("--config", "--resume", "--learning-rate", "--pretrained"):
        assert option in output
