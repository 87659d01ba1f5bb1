"""One compose stack under a project name of its own, on ports that are free."""

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx


def compose_command() -> list[str]:
    """Return compose as it is called here: v1 with a hyphen, or v2."""
    return ["docker-compose"] if shutil.which("docker-compose") else ["docker", "compose"]


def run(
    command: list[str], seconds: float = 60, check: bool = True, **options: Any
) -> "subprocess.CompletedProcess[str]":
    """Run a command and return it with its output, which is shown where it fails."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, **options)
    assert done.returncode == 0 or not check, f"{command}\n{done.stdout[-4000:]}{done.stderr}"
    return done


def port_like(wanted: int) -> int:
    """Return a port that is free: the wanted one if it is."""
    for port in (wanted, 0):
        try:
            # Without reuse, as Docker will ask for it.
            with socket.socket() as listener:
                listener.bind(("0.0.0.0", port))
                return int(listener.getsockname()[1])
        except OSError:
            continue
    raise AssertionError("no port is free")


@dataclass
class Stack:
    """The services of ``folder/docker-compose.yml``."""

    folder: Path
    project: str
    variables: Mapping[str, str] = field(default_factory=dict)

    def compose(
        self, *arguments: str, seconds: float = 180, check: bool = True
    ) -> "subprocess.CompletedProcess[str]":
        command = [*compose_command(), "-p", self.project, *arguments]
        # PWD as a shell has it after `cd`: the mounts are named by it.
        environment = {**os.environ, **self.variables, "PWD": str(self.folder)}
        return run(command, seconds, check, cwd=self.folder, env=environment)

    def execute(
        self, service: str, *command: str, seconds: float = 120, check: bool = True
    ) -> "subprocess.CompletedProcess[str]":
        return self.compose("exec", "-T", service, *command, seconds=seconds, check=check)

    def container(self, service: str) -> str:
        return self.compose("ps", "-q", service).stdout.split()[0]

    def inspect(self, service: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(
            run(["docker", "inspect", self.container(service)]).stdout
        )[0]
        return found

    def wait_until_healthy(self, service: str, seconds: float = 120) -> None:
        end = time.monotonic() + seconds
        while self.inspect(service)["State"]["Health"]["Status"] != "healthy":
            assert time.monotonic() < end, self.compose("logs", service, check=False).stdout[-4000:]
            time.sleep(1)

    def remove(self) -> None:
        self.compose("down", "--volumes", "--timeout", "5", check=False)


def wait_for(url: str, seconds: float = 60) -> float:
    """Return after how many seconds a GET is answered with 200."""
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        try:
            if httpx.get(url, trust_env=False).status_code == 200:
                return time.monotonic() - began
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise AssertionError(f"{url} is not answered with 200 after {seconds:.0f} seconds")
