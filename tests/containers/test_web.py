"""The webserver's container: small, locked up, steady under load, and gone without a loss."""

import json
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from containers.load import post, send
from containers.pictures import pictures
from containers.stack import Stack, run, wait_for

LIMIT = 512 * 2**20


@pytest.fixture
def url(web: Stack, web_port: int) -> str:
    address = f"http://127.0.0.1:{web_port}"
    web.compose("up", "-d")
    wait_for(f"{address}/readyz")
    return address


def resident(stack: Stack, figure: str) -> int:
    """Return the bytes that all processes have in memory (VmRSS), or had at most (VmHWM)."""
    status = stack.execute("web", "sh", "-c", "cat /proc/[0-9]*/status", check=False).stdout
    return sum(int(size) for size in re.findall(rf"{figure}:\s+(\d+) kB", status)) * 1024


def test_the_image_is_small_and_holds_no_torch_compiler_or_installer(web: Stack) -> None:
    size = json.loads(run(["docker", "image", "inspect", "doctor-derma"]).stdout)[0]["Size"]
    print(f"\nimage: {size / 1e6:.0f} MB")
    assert size < 300e6
    for program in ("gcc", "cc", "pip", "pip3", "apt-get", "perl", "curl", "git"):
        found = web.execute("web", "sh", "-c", f"command -v {program}", check=False)
        assert found.returncode != 0, found.stdout
    for package in ("torch", "lightning", "mlflow", "pip"):
        assert web.execute("web", "python", "-c", f"import {package}", check=False).returncode != 0


def test_the_image_says_what_is_in_it(web: Stack) -> None:
    bill = json.loads(web.execute("web", "cat", "/opt/derma/sbom.json").stdout)
    assert bill["bomFormat"] == "CycloneDX"
    versions = {
        part["name"].lower().replace("_", "-"): part["version"] for part in bill["components"]
    }
    pinned = (web.folder / "requirements.txt").read_text()
    for name, version in re.findall(r"^([a-z0-9-]+)==(\S+)", pinned, re.MULTILINE):
        assert versions[name] == version
    assert "doctor-derma" in versions


def test_it_runs_as_nobody_and_can_change_nothing(web: Stack) -> None:
    assert web.execute("web", "id", "-u").stdout.strip() == "10001"
    for folder in ("/", "/opt/model", "/opt/derma", "/etc", "/var"):
        written = web.execute("web", "touch", f"{folder}/x", check=False)
        assert written.returncode != 0, folder
    web.execute("web", "sh", "-c", "touch /tmp/x && rm /tmp/x")
    status = web.execute("web", "cat", "/proc/self/status").stdout
    assert re.search(r"CapEff:\s+0+$", status, re.MULTILINE)
    assert re.search(r"NoNewPrivs:\s+1$", status, re.MULTILINE)
    host = web.inspect("web")["HostConfig"]
    assert host["ReadonlyRootfs"] is True
    assert host["Memory"] == host["MemorySwap"] == LIMIT
    setuid = web.execute("web", "find", "/usr", "/opt", "-perm", "/6000", "-type", "f")
    assert setuid.stdout == ""


def test_a_real_picture_is_classified(url: str) -> None:
    with httpx.Client(base_url=url, trust_env=False) as client:
        answer = post(client, pictures(1)[0])
        assert answer.status_code == 200, answer.text
        assert sum(each["probability"] for each in answer.json()["probabilities"]) == pytest.approx(
            1, abs=1e-3
        )
        assert "medical device" in client.get("/").text
        assert client.get("/v1/model").status_code == 200


def test_memory_stays_under_the_limit_under_load(web: Stack, url: str) -> None:
    rest = resident(web, "VmRSS")
    answers = send(url, pictures(200), requests=2000, connections=8)
    after, peak = resident(web, "VmRSS"), resident(web, "VmHWM")
    print(
        f"\nmemory: {rest / 2**20:.0f} MiB before, {after / 2**20:.0f} MiB after, "
        f"{peak / 2**20:.0f} MiB at most; "
        f"{sum(answers.statuses.values()) / answers.seconds:.0f} pictures/s"
    )
    assert answers.statuses == {200: 2000}
    assert 0 < peak < LIMIT
    state = web.inspect("web")
    assert state["State"]["OOMKilled"] is False
    assert state["RestartCount"] == 0


def test_sigterm_loses_no_request_that_was_accepted(web: Stack, url: str) -> None:
    files = [("images", ("picture.jpg", each, "image/jpeg")) for each in pictures(30)]
    sent = threading.Barrier(3)

    def ask() -> tuple[int, int]:
        with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
            client.get("/healthz")
            sent.wait()
            answer = client.post("/v1/predict/batch", files=files)
            return answer.status_code, answer.text.count('"label"')

    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(ask) for _ in range(2)]
        sent.wait()
        until_waiting(url)
        began = time.monotonic()
        run(["docker", "stop", "--time", "30", web.container("web")])
        seconds = time.monotonic() - began
        assert [each.result() for each in asked] == [(200, 30)] * 2
    state = web.inspect("web")["State"]
    assert state["ExitCode"] == 0
    assert seconds < 30


def until_waiting(url: str) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        figures = httpx.get(f"{url}/metrics", trust_env=False).text
        if float(re.findall(r"^derma_waiting_pictures (\S+)", figures, re.MULTILINE)[0]) > 0:
            return
    raise AssertionError("no picture was waiting")


def test_a_killed_server_is_back_in_seconds(web: Stack, url: str) -> None:
    kill = "import os, signal; [os.kill(int(p), signal.SIGKILL) for p in os.listdir('/proc') "
    kill += "if p.isdigit() and int(p) not in (1, os.getpid())]"
    web.execute("web", "python", "-c", kill, check=False)
    end = time.monotonic() + 30
    while web.inspect("web")["RestartCount"] == 0:
        assert time.monotonic() < end
        time.sleep(0.1)
    assert wait_for(f"{url}/readyz") < 30


def test_ready_soon_after_the_start(web: Stack, url: str) -> None:
    container = web.container("web")
    web.compose("stop")
    began = time.monotonic()
    run(["docker", "start", container])
    wait_for(f"{url}/readyz")
    print(f"\nready {time.monotonic() - began:.1f} s after docker start")
    assert time.monotonic() - began < 30
