"""ICC profiles, made here: of screens and cameras, of grey scanners and of a printing press."""

import struct
from itertools import product

import numpy as np

SRGB_PRIMARIES = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
_D65, _D50 = (0.3127, 0.3290), np.array([0.9642, 1.0, 0.8249])
_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)


def rgb_profile(primaries: tuple[tuple[float, float], ...], gamma: float = 2.2) -> bytes:
    """Return a matrix profile: chromaticities of red, green and blue, white D65, a power."""
    xyz = np.stack([_xyz(*primary) for primary in primaries], axis=1)
    xyz = xyz * np.linalg.solve(xyz, _xyz(*_D65))
    cones = np.diag((_BRADFORD @ _D50) / (_BRADFORD @ _xyz(*_D65)))
    adapted = np.linalg.inv(_BRADFORD) @ cones @ _BRADFORD @ xyz
    tags = {f"{name}XYZ": _xyz_tag(column) for name, column in zip("rgb", adapted.T, strict=True)}
    return _profile("RGB ", "XYZ ", tags | {f"{name}TRC": _curve(gamma) for name in "rgb"})


def grey_profile(gamma: float) -> bytes:
    """Return a profile of grey with a power."""
    return _profile("GRAY", "XYZ ", {"kTRC": _curve(gamma)})


def cmyk_profile(ink: tuple[float, float, float] = (0.2, 0.1, 0.1)) -> bytes:
    """Return a profile of a press whose inks leave so much of the light they should take away."""
    labs = []
    for cyan, magenta, yellow, black in product((0.0, 1.0), repeat=4):
        light = [
            (1 - amount * (1 - left)) * (1 - 0.9 * black)
            for amount, left in zip((cyan, magenta, yellow), ink, strict=True)
        ]
        labs.append(_lab(np.array(light)))
    table = b"".join(
        bytes([round(2.55 * lab[0]), round(lab[1] + 128), round(lab[2] + 128)]) for lab in labs
    )
    identity = b"".join(_fixed(value) for value in np.eye(3).flatten())
    ramp = bytes(range(256))
    tag = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + identity + ramp * 4 + table + ramp * 3
    return _profile("CMYK", "Lab ", {"A2B0": tag}, kind="prtr")


def _profile(space: str, connection: str, tags: dict[str, bytes], kind: str = "mntr") -> bytes:
    description = b"desc" + bytes(4) + struct.pack(">I", 5) + b"made\0" + bytes(79)
    tags = {"desc": description, "cprt": b"text\0\0\0\0none\0\0\0\0", "wtpt": _xyz_tag(_D50)} | tags
    entries, data = b"", b""
    start = 128 + 4 + 12 * len(tags)
    for name, tag in tags.items():
        entries += struct.pack(">4sII", name.encode(), start + len(data), len(tag))
        data += tag + bytes(-len(tag) % 4)
    size = start + len(data)
    head = struct.pack(
        ">I4xI4s4s4s12x4s",
        *(size, 0x02400000, kind.encode(), space.encode(), connection.encode(), b"acsp"),
    )
    white = b"".join(_fixed(value) for value in _D50)
    head = head.ljust(68, b"\0") + white
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + entries + data


def _xyz(x: float, y: float) -> np.ndarray:
    return np.array([x / y, 1.0, (1 - x - y) / y])


def _lab(light: np.ndarray) -> np.ndarray:
    """Return CIE L*a*b* of linear light in sRGB's primaries, relative to white."""
    xyz = np.stack([_xyz(*primary) for primary in SRGB_PRIMARIES], axis=1)
    xyz = xyz * np.linalg.solve(xyz, _xyz(*_D65))
    x, y, z = np.cbrt((xyz @ light) / _xyz(*_D65))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def _curve(gamma: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)


def _xyz_tag(values: np.ndarray) -> bytes:
    return b"XYZ " + bytes(4) + b"".join(_fixed(value) for value in values)


def _fixed(value: float) -> bytes:
    return struct.pack(">i", round(float(value) * 65536))


DISPLAY_P3 = rgb_profile(((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)))
ADOBE_RGB = rgb_profile(((0.64, 0.33), (0.21, 0.71), (0.15, 0.06)), gamma=563 / 256)
