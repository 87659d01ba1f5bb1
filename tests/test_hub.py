"""Models and tables to and from a hub: ``hf://USER/NAME``, against a stand-in on loopback."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from huggingface_hub import constants
from PIL import Image

from doctor_derma.bundle import INFO_FILE, file_sha256, read_info
from doctor_derma.errors import DermaError
from doctor_derma.hub import Repository, bundle_folder, push, repository
from doctor_derma.inference.classifier import Classifier
from hub_stand_in import TOKEN, Hub, running_hub
from project import RunDerma, own_environment
from tiny_bundle import RED, write_bundle

# Of the hub's client, where it uploads by LFS; the hub itself takes large files by Xet.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
ADDRESS = "hf://ada/lesions"
CARD = """---
license: cc0-1.0
library_name: onnx
pipeline_tag: image-classification
metrics:
- roc_auc
---

# tiny

**Not a medical device.**
"""


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with running_hub() as found:
        monkeypatch.setenv("HF_ENDPOINT", found.address)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        # The library reads them once, when it is imported.
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        yield found


@pytest.fixture
def carded(tmp_path: Path) -> Path:
    """A tiny bundle with a card and a licence, and a file that is nobody's business."""
    folder = write_bundle(tmp_path / "tiny")
    (folder / "README.md").write_text(CARD)
    (folder / "LICENSE").write_text("CC0-1.0\n")
    (folder / "notes.txt").write_text("mine")
    return folder


@pytest.fixture
def pushed(hub: Hub, carded: Path, run_derma: RunDerma) -> Hub:
    code, _, error = run_derma("push", ADDRESS, carded)
    assert code == 0, error
    return hub


def test_a_pushed_bundle_is_what_comes_back(pushed: Hub, carded: Path, tmp_path: Path) -> None:
    repo = pushed.repos["model", "ada/lesions"]
    assert set(repo.files) == {"model.json", "model.onnx", "README.md", "LICENSE"}
    assert not repo.private
    info = read_info(carded)
    assert repo.messages == [f"tiny, weights {info.weights.sha256[:12]}"]
    assert (
        yaml.safe_load(repo.files["README.md"].decode().split("---\n")[1])["license"] == "cc0-1.0"
    )
    folder = bundle_folder(ADDRESS)
    assert folder.is_relative_to(tmp_path / "cache")
    assert read_info(folder) == info
    assert (folder / "LICENSE").read_text() == "CC0-1.0\n"
    [prediction] = Classifier.load(ADDRESS).predict(Image.new("RGB", (20, 20), RED))
    assert prediction.label == "mel"


def test_a_bundle_that_was_fetched_is_there_when_the_hub_is_not(
    pushed: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = bundle_folder(ADDRESS)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # Discard: nobody listens there.
    assert bundle_folder(ADDRESS) == first
    with pytest.raises(DermaError, match=r"hf://ada/others: the hub can't be reached \(Connect"):
        bundle_folder("hf://ada/others")


def test_a_commit_that_was_fetched_is_not_asked_for_again(pushed: Hub) -> None:
    commit = bundle_folder(ADDRESS).name
    pushed.asked.clear()
    assert bundle_folder(f"{ADDRESS}@{commit}").name == commit
    assert pushed.asked == []


def test_a_newer_bundle_is_fetched_and_the_older_stays(
    pushed: Hub, carded: Path, run_derma: RunDerma
) -> None:
    older = bundle_folder(ADDRESS)
    text = (carded / INFO_FILE).read_text()
    (carded / INFO_FILE).write_text(text.replace('"name": "tiny"', '"name": "newer"'))
    assert run_derma("push", ADDRESS, carded)[0] == 0
    assert read_info(bundle_folder(ADDRESS)).name == "newer"
    assert read_info(bundle_folder(f"{ADDRESS}@{older.name}")).name == "tiny"


def test_a_graph_that_is_not_the_models_is_refused(pushed: Hub) -> None:
    pushed.repos["model", "ada/lesions"].commit({"model.onnx": b"another"}, "swapped")
    with pytest.raises(DermaError, match=r"ada/lesions: .*SHA-256 is not the one in model\.json"):
        bundle_folder(ADDRESS)


def test_a_private_bundle_needs_the_token_and_nothing_shows_it(
    hub: Hub, carded: Path, run_derma: RunDerma, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, output, error = run_derma("push", ADDRESS, carded, "--private")
    assert code == 0, error
    assert hub.repos["model", "ada/lesions"].private
    said = output + error
    bundle_folder(ADDRESS)
    monkeypatch.setenv("HF_TOKEN", "hf_another987654321")
    hub.repos["model", "ada/other"] = hub.repos["model", "ada/lesions"]
    for command in (["predict", "x.png", "--model", "hf://ada/other"], ["push", ADDRESS, carded]):
        code, output, error = run_derma(*command)
        assert code == 2
        assert "set HF_TOKEN" in error
        assert "Traceback" not in error
        said += output + error
    assert TOKEN not in said
    assert "hf_another" not in said


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({}, "there is none, or it is private"),
        ({"README.md": b"no model"}, r"holds no bundle \(model.json is missing\)"),
    ],
)
def test_what_is_no_bundle_is_said(hub: Hub, change: dict[str, bytes], what: str) -> None:
    if change:
        push(Repository("ada/empty"), change | {"README.md": CARD.encode()}, "no model")
    with pytest.raises(DermaError, match=f"hf://ada/empty: {what}"):
        bundle_folder("hf://ada/empty")


def test_revisions_that_are_not_there_are_said(pushed: Hub) -> None:
    with pytest.raises(DermaError, match="hf://ada/lesions@v9: has no such revision"):
        bundle_folder(f"{ADDRESS}@v9")


def test_a_cache_that_can_not_be_written_is_said(
    pushed: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(
        DermaError, match=r"cache can't be written \(Not a directory\); set HF_HOME"
    ):
        bundle_folder(ADDRESS)


@pytest.mark.parametrize("address", ["hf://ada", "hf://a/b/c", "hf://a/b@", "hf://datasets/a/b"])
def test_addresses_are_of_one_form(address: str) -> None:
    with pytest.raises(DermaError, match="write hf://USER/NAME"):
        repository(address)


def test_commands_take_the_address_where_a_bundle_is_named(
    pushed: Hub, run_derma: RunDerma, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = tmp_path / "red.png"
    Image.new("RGB", (20, 20), RED).save(picture)
    code, output, error = run_derma("predict", picture, "--model", ADDRESS, "--format", "csv")
    assert code == 0, error
    assert ",mel," in output
    served: list[Path] = []
    monkeypatch.setattr("doctor_derma.server.run.serve", lambda bundle, *_: served.append(bundle))
    assert run_derma("serve", "--model", ADDRESS)[0] == 0
    assert read_info(served[0]).name == "tiny"
    copied = tmp_path / "copy"
    code, _, error = run_derma("promote", ADDRESS, "--to", copied)
    assert code == 0, error
    assert file_sha256(copied / "model.onnx") == file_sha256(served[0] / "model.onnx")
    assert not (copied / "model.onnx").is_symlink()


@pytest.mark.parametrize(
    "command", [("card", ADDRESS), ("decide", ADDRESS, "--sensitivity", "0.9")]
)
def test_the_copy_in_the_cache_is_never_written_to(
    hub: Hub, run_derma: RunDerma, command: tuple[str, ...]
) -> None:
    code, _, error = run_derma(*command)
    assert code == 2
    assert f"derma promote {ADDRESS} --to FOLDER" in error
    assert hub.asked == []


def test_a_card_without_the_head_that_the_hub_reads_is_not_pushed(
    hub: Hub, carded: Path, run_derma: RunDerma
) -> None:
    (carded / "README.md").write_text(CARD.replace("license: cc0-1.0\n", ""))
    code, _, error = run_derma("push", ADDRESS, carded)
    assert code == 2
    assert "its head has no license, which the hub reads" in error
    assert hub.asked == []


def test_without_the_package_it_is_said_what_to_install(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "huggingface_hub"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)  # type: ignore[arg-type]
    with pytest.raises(DermaError, match=r"install it with: pip install 'doctor-derma\[hub\]'"):
        bundle_folder(ADDRESS)
    assert bundle_folder(bundle) == bundle


def test_a_table_is_pushed_without_pictures_unless_the_licence_is_named(
    hub: Hub, lesions: Path, tmp_path: Path, run_derma: RunDerma
) -> None:
    root = tmp_path / "root"
    shutil.copytree(lesions / "data", root / "data")
    told = json.loads((root / "data" / "dataset.json").read_text())
    place = str(root / "data")
    told |= {"source": place, "licence": "CC0-1.0"}
    (root / "data" / "dataset.json").write_text(json.dumps(told))
    code, _, error = run_derma("--root", root, "data", "push", "hf://ada/table")
    assert code == 0, error
    files = hub.repos["dataset", "ada/table"].files
    assert set(files) == {"manifest.csv", "dataset.json", "README.md"}
    assert files["manifest.csv"] == (root / "data" / "manifest.csv").read_bytes()
    assert place not in (files["dataset.json"] + files["README.md"]).decode()
    card = files["README.md"].decode()
    head = yaml.safe_load(card.split("---\n")[1])
    assert head["license"] == "cc0-1.0"
    assert "Its pictures are not here." in card

    for flags, said in (
        (["--with-pictures"], "name the licence that allows it"),
        (["--with-pictures", "--licence", "MIT"], "the data are under 'CC0-1.0'"),
    ):
        code, _, error = run_derma("--root", root, "data", "push", "hf://ada/whole", *flags)
        assert code == 2
        assert said in error
    assert ("dataset", "ada/whole") not in hub.repos

    flags = ["--with-pictures", "--licence", "CC0 1.0"]
    code, _, error = run_derma("--root", root, "data", "push", "hf://datasets/ada/whole", *flags)
    assert code == 0, error
    whole = hub.repos["dataset", "ada/whole"]
    pictures = {name for name in whole.files if name.startswith(("train/", "test/"))}
    assert len(pictures) == len((root / "data" / "manifest.csv").read_text().splitlines()) - 1
    # The table is in the last commit: where it is, all is.
    assert all("manifest.csv" not in commit for commit in [*whole.commits.values()][:-1])


def test_the_environment_alone_names_the_hub(pushed: Hub, tmp_path: Path) -> None:
    """A process of its own, as people start it: the library reads its variables at import."""
    Image.new("RGB", (20, 20), RED).save(tmp_path / "red.png")
    environment = own_environment() | {
        "HF_ENDPOINT": pushed.address,
        "HF_HOME": str(tmp_path / "home"),
        "HF_TOKEN": TOKEN,
    }
    command = [sys.executable, "-m", "doctor_derma", "predict", "red.png", "--model", ADDRESS]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert "Melanoma" in done.stdout
    assert TOKEN not in done.stdout + done.stderr
    assert (tmp_path / "home" / "hub" / "models--ada--lesions").is_dir()
