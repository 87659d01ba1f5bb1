"""An image from this machine's Docker to Heroku's registry."""

import os
import subprocess
import tempfile

from exits import ReleaseError
from patience import Patience

REGISTRY = "registry.heroku.com"
PUSH_SECONDS = 900.0
OTHER_SECONDS = 60.0


def push(image: str, app: str, key: str, patience: Patience) -> str:
    """Push an image as the web process of an app.

    Returns
    -------
    the image's id, by which Heroku's API releases it

    Raises
    ------
    ReleaseError
        When docker is missing, or fails at every attempt.
    """
    target = f"{REGISTRY}/{app}/web"
    _docker(["tag", image, target])
    # A configuration of its own, so that the key is not left behind on this machine.
    with tempfile.TemporaryDirectory() as config:
        login = ["--config", config, "login", "--username", "_", "--password-stdin", REGISTRY]
        _docker(login, given=key)
        _push(["--config", config, "push", target], patience)
    return _docker(["image", "inspect", "--format", "{{.Id}}", target])


def _push(arguments: list[str], patience: Patience) -> None:
    failures = 0
    while True:
        try:
            # What it prints is its progress.
            _docker(arguments, seconds=PUSH_SECONDS, shown=True)
        except ReleaseError:
            failures += 1
            if not patience.before_retry(failures):
                raise
        else:
            return


def _docker(
    arguments: list[str], given: str = "", seconds: float = OTHER_SECONDS, shown: bool = False
) -> str:
    step = next(word for word in arguments if word in ("tag", "login", "push", "image"))
    # docker has no use for the key, which it gets by standard input where it needs it.
    environment = {name: value for name, value in os.environ.items() if name != "HEROKU_API_KEY"}
    try:
        done = subprocess.run(
            ["docker", *arguments],
            input=given,
            stdout=None if shown else subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            timeout=seconds,
            env=environment,
        )
    except FileNotFoundError as error:
        raise ReleaseError("there is no 'docker' to push the image with; install it") from error
    except subprocess.TimeoutExpired as error:
        raise ReleaseError(
            f"docker {step} was not done after {seconds:.0f} seconds; try again"
        ) from error
    if done.returncode:
        said = (done.stderr.strip() or "nothing").splitlines()[-1]
        raise ReleaseError(f"docker {step} failed and said: {said}")
    return (done.stdout or "").strip()
