"""How many times a JPEG goes over its pixels, counted without decoding it."""

import re

_START = b"\xff\xd8"
_SCAN, _END = 0xDA, 0xD9
# After a scan's header comes coded data, in which FF is followed by 00 or a restart marker.
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.DOTALL)


def count_scans(encoded: bytes) -> int:
    """Return the number of scans of a JPEG; 0 for any other file.

    A progressive JPEG has some ten. Nothing in the format limits them, and a few bytes make
    one that costs a pass over all pixels, so that a small file can keep a decoder busy for
    minutes.
    """
    if not encoded.startswith(_START):
        return 0
    scans = 0
    at = len(_START)
    while marker := _MARKER.search(encoded, at):
        code = encoded[marker.end() - 1]
        if code == _END:
            break
        scans += code == _SCAN
        # The length, of two bytes, counts itself.
        length = encoded[marker.end() : marker.end() + 2]
        at = marker.end() + max(int.from_bytes(length), 2)
    return scans
