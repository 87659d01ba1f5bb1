"""A release to Heroku, each way that it can end, against a Heroku in small."""

import importlib
import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from deployment.fake_heroku import APP, KEY, FakeDocker, FakeHeroku, heroku

FOLDER = Path(__file__).resolve().parents[2] / "deployment" / "release"
RELEASED, UNCHANGED, USAGE, ROLLED_BACK, BROKEN = range(5)


class Deployment:
    """The command, with a clock that passes only in its waits."""

    def __init__(self, command: ModuleType, patience: ModuleType, fake: FakeHeroku) -> None:
        self.waits: list[float] = []
        self.command = command
        self.api = fake.url
        self._patience = patience.Patience(sleep=self.waits.append, clock=lambda: sum(self.waits))

    def __call__(self, **environment: str) -> int:
        known = {"HEROKU_API_KEY": KEY, "HEROKU_APP": APP, **environment}
        arguments = ["doctor-derma", "--wait", "20", "--api", self.api]
        return self.command.main(arguments, known, self._patience)


@pytest.fixture(autouse=True)
def _sigterm_as_before() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def fake() -> Iterator[FakeHeroku]:
    with heroku() as fake:
        yield fake


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeDocker:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("HEROKU_API_KEY", KEY)
    monkeypatch.delenv("DERMA_API_KEY", raising=False)
    return FakeDocker(tmp_path / "bin")


@pytest.fixture
def deploy(fake: FakeHeroku, docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    monkeypatch.syspath_prepend(FOLDER)
    names = ("exits", "patience", "heroku", "registry", "steps")
    for name in (*names, "release_command"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    found = importlib.util.spec_from_file_location("release_command", FOLDER / "__main__.py")
    assert found
    assert found.loader
    command = importlib.util.module_from_spec(found)
    found.loader.exec_module(command)
    return Deployment(command, importlib.import_module("patience"), fake)


def test_an_image_is_pushed_released_and_asked_for_a_prediction(
    deploy: Deployment, fake: FakeHeroku, docker: FakeDocker, capfd: pytest.CaptureFixture[str]
):
    assert deploy() == RELEASED
    assert fake.history == ["sha256:old", "sha256:new"]
    assert fake.predictions == 1
    target = f"registry.heroku.com/{APP}/web"
    steps = [call.split(" ", 2)[-1] if "--config" in call else call for call in docker.calls]
    assert steps[0] == f"tag doctor-derma {target}"
    assert steps[1].endswith("login --username _ --password-stdin registry.heroku.com")
    assert steps[2].endswith(f"push {target}")
    assert steps[3] == f"image inspect --format {{{{.Id}}}} {target}"
    out, err = capfd.readouterr()
    assert f"v2 is healthy at {fake.url}" in out
    assert err == ""


def test_the_key_goes_to_docker_by_standard_input_and_nowhere_else(
    deploy: Deployment, docker: FakeDocker, capfd: pytest.CaptureFixture[str]
):
    deploy()
    assert docker.given == KEY
    assert KEY not in "".join(docker.calls)
    assert "key in the environment" not in docker.calls
    assert KEY not in "".join(capfd.readouterr())
    # Docker's record of the login was in a folder that is gone.
    config = next(call.split()[1] for call in docker.calls if call.startswith("--config"))
    assert not Path(config).exists()


def test_the_old_dyno_does_not_count_as_the_new_release(deploy: Deployment, fake: FakeHeroku):
    assert deploy() == RELEASED
    assert fake.calls.count("GET /dynos") == 3
    assert deploy.waits == [3.0, 3.0]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("crash", "a dyno of v2 has crashed"),
        ("unready", "v2 was not ready after 20 seconds (/readyz answers 503)"),
        ("slow", "v2 was not ready after 20 seconds (0 of 2 dynos run it and are up)"),
        ("failed", "Heroku calls v2 failed"),
        ("wrong", "the probabilities of a prediction add up to 1.4"),
    ],
)
def test_a_release_that_is_not_well_is_rolled_back(
    deploy: Deployment,
    fake: FakeHeroku,
    capfd: pytest.CaptureFixture[str],
    fault: str,
    reason: str,
):
    fake.faults["sha256:new"] = fault
    assert deploy() == ROLLED_BACK
    assert fake.history == ["sha256:old", "sha256:new", "sha256:old"]
    out, _ = capfd.readouterr()
    assert reason in out
    assert out.endswith(f"{APP}: rolled back to v1, which is ready\n")


def test_an_interrupted_release_is_rolled_back(
    deploy: Deployment, fake: FakeHeroku, monkeypatch: pytest.MonkeyPatch
):
    def interrupted(url: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(deploy.command, "check", interrupted)
    assert deploy() == ROLLED_BACK
    assert fake.history[-1] == "sha256:old"


def test_a_release_that_is_terminated_is_rolled_back(
    deploy: Deployment, fake: FakeHeroku, monkeypatch: pytest.MonkeyPatch
):
    # Without the command's own handler this goes unheard, instead of ending the tests.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    monkeypatch.setattr(deploy.command, "check", lambda _: signal.raise_signal(signal.SIGTERM))
    assert deploy() == ROLLED_BACK
    assert fake.history[-1] == "sha256:old"


def test_a_rollback_goes_to_what_ran_not_to_what_was_released_last(
    deploy: Deployment, fake: FakeHeroku
):
    fake.history = ["sha256:bad", "sha256:good", "sha256:bad", "sha256:good"]
    fake.faults["sha256:new"] = "crash"
    assert deploy() == ROLLED_BACK
    assert fake.history[-1] == "sha256:good"


def test_a_rollback_that_is_refused_says_what_to_do_by_hand(
    deploy: Deployment, fake: FakeHeroku, capfd: pytest.CaptureFixture[str]
):
    fake.faults["sha256:new"] = "crash"
    fake.broken["POST", "/releases"] = [(422, None)]
    assert deploy() == BROKEN
    out, _ = capfd.readouterr()
    assert "rolling back failed, do it by hand ('heroku rollback v1')" in out
    assert "422: Not this time" in out


def test_a_rollback_to_a_release_that_is_not_well_either_is_no_success(
    deploy: Deployment, fake: FakeHeroku
):
    fake.faults.update({"sha256:new": "crash", "sha256:old": "unready"})
    assert deploy() == BROKEN


def test_a_first_release_that_is_not_well_has_nothing_to_go_back_to(
    deploy: Deployment, fake: FakeHeroku, capfd: pytest.CaptureFixture[str]
):
    fake.web = False
    fake.faults["sha256:new"] = "crash"
    assert deploy() == BROKEN
    assert "POST /releases" not in fake.calls
    assert "no earlier release" in capfd.readouterr().out


def test_an_image_that_runs_already_is_only_tested(
    deploy: Deployment, fake: FakeHeroku, capfd: pytest.CaptureFixture[str]
):
    fake.history, fake.starting = ["sha256:new"], 0
    assert deploy() == RELEASED
    assert fake.history == ["sha256:new"]
    assert fake.predictions == 1
    assert "v1 runs this image already" in capfd.readouterr().out


@pytest.mark.parametrize("step", ["tag", "login", "push", "inspect"])
def test_an_image_that_cannot_be_pushed_releases_nothing(
    deploy: Deployment,
    fake: FakeHeroku,
    docker: FakeDocker,
    capfd: pytest.CaptureFixture[str],
    step: str,
):
    docker.fail(step)
    assert deploy() == UNCHANGED
    assert fake.history == ["sha256:old"]
    _, err = capfd.readouterr()
    name = "image" if step == "inspect" else step
    assert err == f"release: docker {name} failed and said: denied: no access\n"


def test_a_push_that_fails_twice_is_tried_again(deploy: Deployment, docker: FakeDocker):
    docker.fail("push", times=2)
    assert deploy() == RELEASED
    assert sum(" push " in call for call in docker.calls) == 3
    # Two waits of at most 1 and 2 seconds, before those for the dynos.
    assert 0 <= deploy.waits[0] <= 1
    assert 0 <= deploy.waits[1] <= 2


def test_a_machine_without_docker_is_told_so(
    deploy: Deployment,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert deploy() == UNCHANGED
    assert "there is no 'docker'" in capfd.readouterr().err


def test_a_rate_limit_is_waited_out(deploy: Deployment, fake: FakeHeroku):
    fake.broken["PATCH", "/formation"] = [(429, "7"), (503, None)]
    assert deploy() == RELEASED
    assert 7 <= deploy.waits[0] <= 8
    assert 0 <= deploy.waits[1] <= 2
    assert fake.history == ["sha256:old", "sha256:new"]


def test_a_rate_limit_of_an_hour_is_not(
    deploy: Deployment, fake: FakeHeroku, capfd: pytest.CaptureFixture[str]
):
    fake.broken["GET", ""] = [(429, "3600")]
    assert deploy() == UNCHANGED
    assert deploy.waits == []
    assert "with 429: Not this time" in capfd.readouterr().err


def test_an_api_that_stays_broken_is_given_up(deploy: Deployment, fake: FakeHeroku):
    fake.broken["GET", "/releases"] = [(500, None)] * 9
    assert deploy() == UNCHANGED
    assert fake.calls.count("GET /releases") == 5
    assert len(deploy.waits) == 4
    assert sum(deploy.waits) <= 1 + 2 + 4 + 8


def test_an_api_that_does_not_answer_is_given_up(
    deploy: Deployment, capfd: pytest.CaptureFixture[str]
):
    deploy.api = "http://127.0.0.1:9"
    assert deploy() == UNCHANGED
    assert len(deploy.waits) == 4
    assert "Heroku's API does not answer (ConnectError)" in capfd.readouterr().err


def test_an_image_that_heroku_refuses_leaves_the_app_as_it_was(
    deploy: Deployment, fake: FakeHeroku, capfd: pytest.CaptureFixture[str]
):
    fake.broken["PATCH", "/formation"] = [(422, None)]
    assert deploy() == UNCHANGED
    assert fake.history == ["sha256:old"]
    assert "nothing was released; v1 is still the current one" in capfd.readouterr().out


@pytest.mark.parametrize("wrong", ["HEROKU_API_KEY", "HEROKU_APP"])
def test_a_wrong_key_or_app_is_refused_before_anything_is_pushed(
    deploy: Deployment, docker: FakeDocker, capfd: pytest.CaptureFixture[str], wrong: str
):
    assert deploy(**{wrong: "of-somebody-else"}) == UNCHANGED
    assert docker.calls == []
    _, err = capfd.readouterr()
    assert wrong in err
    assert len(err.splitlines()) == 1
    assert ("of-somebody-else" in err) == (wrong == "HEROKU_APP")


@pytest.mark.parametrize("missing", ["HEROKU_API_KEY", "HEROKU_APP"])
def test_without_its_environment_nothing_happens(
    deploy: Deployment, fake: FakeHeroku, capfd: pytest.CaptureFixture[str], missing: str
):
    assert deploy(**{missing: " "}) == USAGE
    assert fake.calls == []
    assert f"{missing} is not set" in capfd.readouterr().err


def test_the_command_runs_as_a_folder():
    known = {name: value for name, value in os.environ.items() if not name.startswith("HEROKU")}
    command = [sys.executable, str(FOLDER), "doctor-derma"]
    done = subprocess.run(command, capture_output=True, text=True, env=known, timeout=60)
    assert done.returncode == USAGE
    assert done.stderr.startswith("release: HEROKU_API_KEY is not set")
