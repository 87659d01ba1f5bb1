"""What is no picture, or none that the server reads."""

import gzip
import io
import pickle
import random
import time
import zipfile

from images.made import save
from server.hostile.pictures import base_files, noise

MAGIC = {
    "jpeg": b"\xff\xd8\xff\xe0\x00\x10JFIF\0",
    "png": b"\x89PNG\r\n\x1a\n",
    "webp": b"RIFF\xff\xff\xff\xffWEBP",
    "tiff-little": b"II*\0",
    "tiff-big": b"MM\0*",
    "bigtiff": b"II+\0\x08\0\0\0",
    "bmp": b"BM",
    "gif": b"GIF89a",
    "jp2": b"\0\0\0\x0cjP  \r\n\x87\n",
    "avif": b"\0\0\0\x20ftypavif",
    "heic": b"\0\0\0\x18ftypheic",
    "psd": b"8BPS",
    "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n",
    "pdf": b"%PDF-1.7\n",
    "elf": b"\x7fELF\x02\x01\x01",
    "exe": b"MZ\x90\0",
    "dicom": bytes(128) + b"DICM",
}


def foreign_files(seed: int) -> dict[str, bytes]:
    """Return files of other kinds, and magic numbers with nothing good behind them."""
    return {**_other_pictures(seed), **_documents(seed), **_magic(seed)}


def _other_pictures(seed: int) -> dict[str, bytes]:
    picture = noise("RGB", 20, 20, seed)
    formats = ("GIF", "PPM", "TGA", "PCX", "ICO", "SGI", "IM", "EPS", "DDS", "JPEG2000")
    files = {format.lower(): save(picture, format) for format in formats}
    beginning = time.gmtime(0)
    files["pdf"] = save(picture, "PDF", creationDate=beginning, modDate=beginning)
    frames = [noise("P", 20, 20, seed + index) for index in range(9)]
    files["gif-animated"] = save(frames[0], "GIF", save_all=True, append_images=frames[1:])
    return files


def _documents(seed: int) -> dict[str, bytes]:
    picture = base_files(seed)["png"]
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as members:
        # Without a date of its own, a member has the time of day.
        members.writestr(zipfile.ZipInfo("picture.png"), picture)
        members.writestr(zipfile.ZipInfo("zeros"), bytes(5_000_000), zipfile.ZIP_DEFLATED)
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 9}">' for n in range(1, 12))
    return {
        "empty": b"",
        "one-byte": b"\xff",
        "newline": b"\n",
        "zeros": bytes(100_000),
        "ones": b"\xff" * 100_000,
        "noise": random.Random(seed).randbytes(100_000),
        "text": b"a mole on the left arm\n" * 100,
        "html": b"<!doctype html><script>alert(1)</script><img src=x onerror=alert(1)>",
        "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
        "entities": f'<!DOCTYPE x [<!ENTITY e0 "x">{entities}]><x>&e11;</x>'.encode(),
        "json": b'{"image": "' + b"[" * 10_000 + b'"}',
        "zip": archive.getvalue(),
        "gzip": gzip.compress(bytes(5_000_000), mtime=0),
        "gzipped-png": gzip.compress(picture, mtime=0),
        "pickle": pickle.dumps({"pixels": [0] * 100}),
        "base64": b"data:image/png;base64,iVBORw0KGgo=",
        "zip-before-png": archive.getvalue() + picture,
        "png-before-zip": picture + archive.getvalue(),
        "html-before-png": b"<html></html>" + picture,
        "shell": b"#!/bin/sh\nrm -r /tmp/nothing\n",
    }


def _magic(seed: int) -> dict[str, bytes]:
    garbage = random.Random(seed)
    files = {}
    for name, magic in MAGIC.items():
        files[f"{name}-magic"] = magic
        files[f"{name}-magic-zeros"] = magic + bytes(4_000)
        files[f"{name}-magic-noise"] = magic + garbage.randbytes(4_000)
    return files
