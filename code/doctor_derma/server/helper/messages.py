"""What the server and its helper send each other.

A request is ``REQUEST``, with the height and width of the network and the bytes of the file, and
the file. An answer is ``LENGTHS``, a head in JSON, and pixels. Nothing of it can run anything.
"""

import struct

REQUEST = struct.Struct(">IIQ")
LENGTHS = struct.Struct(">IQ")
# For a picture that neither ends nor computes.
SECONDS = 9
TOO_MUCH = "it takes more memory or time to decode than one picture may: scale it down"
