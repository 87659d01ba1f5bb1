"""Processes are ended with all that they started, and nothing else."""

import subprocess
import sys
import time
from collections.abc import Callable

from serving_bench.process_tree import Process, end, is_alive, memory, tree

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
CHILD = f"{STUBBORN} print('up', flush=True); time.sleep(60)"
PARENT = (
    "import subprocess, sys, time; "
    f"subprocess.Popen([sys.executable, '-c', {CHILD!r}], start_new_session=True); time.sleep(60)"
)


def until(true: Callable[[], bool]) -> None:
    limit = time.monotonic() + 30
    while not true():
        assert time.monotonic() < limit
        time.sleep(0.02)


def test_a_tree_ends_even_where_a_child_will_not() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE)
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    assert parent.stdout
    assert parent.stdout.readline() == b"up\n"
    processes = tree(parent.pid)
    assert processes[0].pid == parent.pid
    assert len(processes) == 2
    found = memory(processes)
    assert found.rss >= found.pss > 1
    end(processes, wait=0.4)
    assert not any(map(is_alive, processes))
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()
    parent.communicate()  # Closes the pipe, too.


def test_a_later_process_of_the_same_number_is_another() -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    (known,) = tree(process.pid)
    until(lambda: is_alive(known))
    impostor = Process(known.pid, "1")
    assert not is_alive(impostor)
    end([impostor], wait=0.1)
    assert process.poll() is None
    process.kill()
    process.wait()
    assert not is_alive(known)
    assert memory([known]).rss == 0
