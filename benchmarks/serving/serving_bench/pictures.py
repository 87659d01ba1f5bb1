"""The pictures that every server gets, drawn by the project, and what it must say of them.

A server that is fast and wrong is not measured.
"""

from collections.abc import Mapping
from pathlib import Path

import httpx

from doctor_derma.data.synthetic.synthesis import DEFAULT_COUNTS, synthesize
from doctor_derma.errors import DermaError
from doctor_derma.inference.classifier import Classifier
from serving_bench.contenders import RULE, Contender

SIZE = (600, 450)


def draw_pictures(count: int, folder: Path) -> list[Path]:
    """Write ``count`` JPEGs of 600x450 at quality 90; ``count`` is a multiple of 7."""
    each = max(3, count // len(DEFAULT_COUNTS))
    paths = []
    for picture in synthesize(dict.fromkeys(DEFAULT_COUNTS, each), size=SIZE):
        paths.append(folder / f"{picture.image}.jpg")
        assert picture.read is not None
        paths[-1].write_bytes(picture.read())
    return paths


def expected_labels(bundle: Path, pictures: list[Path]) -> dict[Path, str]:
    """Return what the package itself says about each picture, by the rule that peers have."""
    classifier = Classifier.load(bundle, rule=RULE)
    predictions = classifier.predict([path.read_bytes() for path in pictures])
    return {path: prediction.label for path, prediction in zip(pictures, predictions, strict=True)}


def check_answers(contender: Contender, expected: Mapping[Path, str]) -> None:
    """Ask about every picture.

    Raises
    ------
    DermaError
        When an answer is no 200, or its label not the expected one.
    """
    url = f"http://127.0.0.1:{contender.port}{contender.path}"
    with httpx.Client(trust_env=False, timeout=30) as client:
        for path, label in expected.items():
            body = contender.body(path.read_bytes())
            headers = {"Content-Type": body.media_type}
            answer = client.post(url, content=body.content, headers=headers)
            if answer.status_code != 200:
                raise DermaError(
                    f"{contender.name}: answers {answer.status_code} about {path.name} "
                    f"({answer.text[:120]}); its speed means nothing"
                )
            if (found := contender.label(answer.json())) != label:
                raise DermaError(
                    f"{contender.name}: says {found} about {path.name}, the package says {label}; "
                    "its speed means nothing"
                )
