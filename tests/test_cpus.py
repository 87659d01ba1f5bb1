"""The processors that a process may use, on made trees of control groups."""

import os

import pytest

from doctor_derma.cpus import usable_cpus

TOP = "sys/fs/cgroup"
V2 = {"proc/self/cgroup": "0::/\n"}
V1 = {
    "proc/self/cgroup": "12:pids:/docker/c0ffee\n4:cpu,cpuacct:/docker/c0ffee\n"
    "1:name=systemd:/docker/c0ffee\n"
}


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Make a machine of some processors with files below its root; return the root."""

    def make(files: dict[str, str], cpus: int = 16):
        monkeypatch.setattr(
            os, "sched_getaffinity", lambda process: set(range(cpus)), raising=False
        )
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return make


def test_without_control_groups_it_is_the_processors_that_the_process_is_bound_to(made):
    assert usable_cpus(made({}, cpus=3)) == 3


def test_without_an_affinity_it_is_all_processors(made, monkeypatch):
    root = made({})
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    assert usable_cpus(root) == 5


@pytest.mark.parametrize(
    ("cpu_max", "used"),
    [
        ("200000 100000", 2),
        ("150000 100000", 2),
        ("100000 50000", 2),
        ("10000 100000", 1),
        ("max 100000", 16),
        ("6400000 100000", 16),
        ("", 16),
    ],
)
def test_a_quota_of_version_2_holds(made, cpu_max, used):
    assert usable_cpus(made(V2 | {f"{TOP}/cpu.max": cpu_max + "\n"})) == used


def test_a_group_has_no_more_than_the_groups_that_it_lies_in(made):
    root = made(
        {
            "proc/self/cgroup": "0::/kubepods/pod7/box\n",
            f"{TOP}/kubepods/cpu.max": "max 100000\n",
            f"{TOP}/kubepods/pod7/cpu.max": "300000 100000\n",
            f"{TOP}/kubepods/pod7/box/cpu.max": "800000 100000\n",
            f"{TOP}/kubepods/pod8/cpu.max": "100000 100000\n",
        }
    )
    assert usable_cpus(root) == 3


def test_a_group_out_of_sight_has_its_files_at_the_top(made):
    root = made({"proc/self/cgroup": "0::/../../box\n", f"{TOP}/cpu.max": "400000 100000\n"})
    assert usable_cpus(root) == 4


@pytest.mark.parametrize("quota_and_used", [("250000", 3), ("-1", 16)])
@pytest.mark.parametrize("folder", ["cpu", "cpu,cpuacct", "cpu/docker/c0ffee"])
def test_a_quota_of_version_1_holds(made, folder, quota_and_used):
    quota, used = quota_and_used
    root = made(
        V1
        | {
            f"{TOP}/{folder}/cpu.cfs_quota_us": quota + "\n",
            f"{TOP}/{folder}/cpu.cfs_period_us": "100000\n",
        }
    )
    assert usable_cpus(root) == used


@pytest.mark.parametrize(
    ("threads", "used"), [("max", 16), ("128", 16), ("80", 10), ("62", 4), ("51", 1), ("10", 1)]
)
@pytest.mark.parametrize("version", [V1, V2])
def test_no_more_processors_than_there_are_threads_for(made, version, threads, used):
    place = "pids/pids.max" if version is V1 else "pids.max"
    assert usable_cpus(made(version | {f"{TOP}/{place}": threads + "\n"})) == used


def test_the_least_limit_counts(made):
    files = V2 | {f"{TOP}/cpu.max": "300000 100000\n", f"{TOP}/pids.max": "80\n"}
    assert usable_cpus(made(files)) == 3
    assert usable_cpus(made(files, cpus=2)) == 2


def test_here_it_is_a_number_of_processors():
    assert 1 <= usable_cpus() <= (os.cpu_count() or 1)
