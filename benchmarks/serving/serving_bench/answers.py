"""A server that is fast and wrong is not measured."""

from collections.abc import Mapping
from pathlib import Path

import httpx

from doctor_derma.errors import DermaError
from doctor_derma.inference.classifier import Classifier
from serving_bench.contenders import RULE, Contender


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
