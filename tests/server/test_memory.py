"""Large pictures, and refused ones, leave nothing behind."""

import io
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from PIL import Image

from server.server_process import served
from siege.pictures import refuse

# Pillow keeps a picture in blocks of 16 MB. Two threads, so that there are two heaps.
CODE = """
import io, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from PIL import Image
from doctor_derma.images.decoding import open_image
from doctor_derma.server.process import return_large_blocks

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6

if sys.argv[1] == "careful":
    return_large_blocks()
stream = io.BytesIO()
Image.new("RGBA", (2600, 2600), (200, 100, 90, 128)).save(stream, "PNG", compress_level=1)
before = resident()
with ThreadPoolExecutor(2) as pool:
    for _ in range(4):
        pool.submit(open_image, stream.getvalue(), least_side=None).result()
    print(resident() - before)
"""


def left_behind(how: str) -> float:
    command = [sys.executable, "-c", CODE, how]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="of glibc")
def test_large_blocks_go_back_to_the_system() -> None:
    assert left_behind("careful") < 10
    # So that this test notices when there is nothing to take care of any more.
    assert left_behind("careless") > 30


def resident(process: psutil.Process) -> int:
    """Return the bytes of a process and of those that it has started."""
    return sum(each.memory_info().rss for each in (process, *process.children(recursive=True)))


def test_refused_pictures_leave_nothing_behind(bundle: Path) -> None:
    """``make siege`` does it with 10,000 of them."""
    large = io.BytesIO()
    Image.new("RGBA", (7000, 7000)).save(large, "PNG", compress_level=1)
    cut = large.getvalue()[: len(large.getvalue()) // 2]
    with served(bundle) as server:
        url = f"{server.url}/v1/predict"
        process = psutil.Process(server.process.pid)
        refuse(url, 150, cut)
        before = resident(process)
        refuse(url, 450, cut)
        assert resident(process) - before <= 10_000_000
