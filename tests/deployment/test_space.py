"""The head that makes a Space of the server, and the commands that put it there."""

import re
import shlex
from fnmatch import fnmatch
from itertools import pairwise
from pathlib import Path

import yaml

from doctor_derma.bundle import read_info

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "deployment" / "Dockerfile").read_text()
SPACE = (ROOT / "deployment" / "space" / "README.md").read_text()
GUIDE = (ROOT / "docs" / "deployment.md").read_text()
# https://huggingface.co/docs/hub/spaces-config-reference
COLOURS = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}


def head() -> dict[str, object]:
    found = yaml.safe_load(SPACE.split("---\n", 2)[1])
    assert isinstance(found, dict)
    return found


def uploaded() -> list[str]:
    """Return the patterns of the command that uploads the server, and the card of the Space."""
    command = re.search(r"^hf upload USER/SPACE \. (?:.*\\\n)*.*", GUIDE, re.MULTILINE)
    assert command
    words = shlex.split(command[0].replace("\\\n", " "))
    return [word for flag, word in pairwise(words) if flag == "--include"]


def test_the_space_listens_where_the_image_does() -> None:
    [port] = re.findall(r"\bPORT=(\d+)", DOCKERFILE)
    assert head()["sdk"] == "docker"
    assert head()["app_port"] == int(port)
    assert {head()["colorFrom"], head()["colorTo"]} <= COLOURS
    assert len(str(head()["short_description"])) <= 60


def test_the_space_has_the_licence_of_its_model() -> None:
    licence = read_info(ROOT / "deployment" / "models" / "champion").data.licence
    assert head()["license"] == licence.lower().replace(" ", "-")
    assert "**Not a medical device.**" in SPACE


def test_all_that_the_image_is_built_from_is_uploaded() -> None:
    patterns = uploaded()
    assert "Dockerfile" in patterns
    assert (ROOT / "Dockerfile").resolve() == ROOT / "deployment" / "Dockerfile"
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    sources = {word for line in copied for word in line.split()}
    assert "deployment/models/${MODEL}" in sources
    for source in sources:
        name = source.replace("${MODEL}", "champion")
        if name == "README.md":  # The Space's own, by the next command.
            assert "hf upload USER/SPACE deployment/space/README.md README.md" in GUIDE
            continue
        path = ROOT / name
        files = [found for found in path.rglob("*") if found.is_file()] if path.is_dir() else [path]
        for file in files:
            place = file.relative_to(ROOT).as_posix()
            assert any(fnmatch(place, pattern) for pattern in patterns), place
