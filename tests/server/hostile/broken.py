"""Good pictures that were damaged: cut, flipped, spliced."""

import random

from server.hostile.pictures import base_files

SHARES = (0.02, 0.1, 0.5, 0.9, 0.999)
FLIPPED = 8
SPLICED = 20


def broken_files(seed: int) -> dict[str, bytes]:
    """Return damaged copies of ``base_files``."""
    return {**_truncated(seed), **_flipped(seed), **_spliced(seed)}


def _truncated(seed: int) -> dict[str, bytes]:
    return {
        f"{name}-first-{share}": data[: int(share * len(data))]
        for name, data in base_files(seed).items()
        for share in SHARES
    }


def _flipped(seed: int) -> dict[str, bytes]:
    files = {}
    for name, data in base_files(seed).items():
        for copy in range(FLIPPED):
            chance = random.Random(f"{seed} {name} {copy}")
            damaged = bytearray(data)
            # Half of the copies are damaged in the header alone, where the sizes are.
            end = 64 if copy % 2 else len(damaged)
            for _ in range(2**copy % 50 + 1):
                damaged[chance.randrange(end)] ^= 1 << chance.randrange(8)
            files[f"{name}-flipped-{copy}"] = bytes(damaged)
    return files


def _spliced(seed: int) -> dict[str, bytes]:
    chance = random.Random(seed)
    bases = list(base_files(seed).items())
    files = {}
    for copy in range(SPLICED):
        (head_name, head), (tail_name, tail) = chance.choices(bases, k=2)
        spliced = head[: chance.randrange(len(head))] + tail[chance.randrange(len(tail)) :]
        files[f"{copy}-{head_name}-{tail_name}"] = spliced
    return files
