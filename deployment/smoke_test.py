"""Is a Doctor Derma server at a URL well, and does it classify a picture?

    python deployment/smoke_test.py http://localhost:5555

Needs nothing but Python. Exits with 0 when all is well, else with 1 and one line that says why.
A server that asks for a key is sent the one in DERMA_API_KEY.
"""

import argparse
import http.client
import json
import math
import os
import struct
import sys
import time
import urllib.error
import urllib.request

BOUNDARY = "doctor-derma-smoke-test"
REQUEST_SECONDS = 30


class Unwell(Exception):  # noqa: N818
    """What is wrong with the server, in one sentence."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url", help="where the server is, such as http://localhost:5555")
    parser.add_argument("--wait", type=float, default=60, help="seconds to wait for its start")
    arguments = parser.parse_args()
    url = arguments.url.rstrip("/")
    try:
        model = wait_until_healthy(url, arguments.wait)
        check_page(url)
        label = check_prediction(url)
        check_refusal(url)
    except Unwell as problem:
        print(f"smoke test: {url}: {problem}", file=sys.stderr)
        return 1
    print(f"{url}: model '{model}' is up and called a plain brown picture '{label}'")
    return 0


def wait_until_healthy(url: str, seconds: float) -> str:
    """Return the name of the model that /healthz gives, once it does."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            status, body = fetch(f"{url}/healthz")
            if status == 200:
                return json.loads(body)["model"]["name"]
            found = f"/healthz answers {status}"
        except Unwell as problem:
            found = str(problem)
        except (ValueError, KeyError, TypeError):
            found = "/healthz is not Doctor Derma's"
        if time.monotonic() > deadline:
            raise Unwell(f"not healthy after {seconds:.0f} seconds ({found})")
        time.sleep(1)


def check_page(url: str) -> None:
    status, body = fetch(f"{url}/")
    if status != 200 or b"medical device" not in body:
        raise Unwell(f"the page answers {status} or lacks its notice")


def check_prediction(url: str) -> str:
    """Return the label of a picture, after a look at its probabilities."""
    status, body = fetch(f"{url}/predict", brown_picture())
    if status != 200:
        raise Unwell(f"POST /predict answers {status}: {body[:200].decode(errors='replace')}")
    try:
        answer = json.loads(body)
        total = sum(entry["probability"] for entry in answer["probabilities"])
        names = [entry["name"] for entry in answer["probabilities"]]
        label = answer["label"]
        # Servers from before there were rules name none, and call the most probable class.
        rule = answer.get("rule", "most-probable")
    except (ValueError, KeyError, TypeError) as error:
        raise Unwell("the answer of POST /predict is not Doctor Derma's") from error
    if not math.isclose(total, 1, abs_tol=1e-3):
        raise Unwell(f"the probabilities of a prediction add up to {total}")
    if label not in names:
        raise Unwell("the label of a prediction is none of its classes")
    if rule == "most-probable" and label != names[0]:
        raise Unwell("the label of a prediction is not the most probable class")
    return label


def check_refusal(url: str) -> None:
    status, _ = fetch(f"{url}/predict", b"not a picture")
    if not 400 <= status < 500:
        raise Unwell(f"POST /predict of something else than a picture answers {status}")


def fetch(url: str, picture: bytes | None = None) -> tuple[int, bytes]:
    """Return status and body of a GET, or of a POST of a picture."""
    request = urllib.request.Request(url)
    if picture is not None:
        head = (
            f"--{BOUNDARY}\r\nContent-Disposition: form-data; name=image; filename=picture\r\n\r\n"
        )
        request.data = head.encode() + picture + f"\r\n--{BOUNDARY}--\r\n".encode()
        request.add_header("Content-Type", f"multipart/form-data; boundary={BOUNDARY}")
        if key := os.environ.get("DERMA_API_KEY", "").strip():
            request.add_header("Authorization", f"Bearer {key}")
    try:
        with urllib.request.urlopen(request, timeout=REQUEST_SECONDS) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except (OSError, http.client.HTTPException) as error:
        raise Unwell(f"no answer ({getattr(error, 'reason', None) or error})") from error


def brown_picture(side: int = 64) -> bytes:
    """Return a BMP of one colour, the one kind of picture that needs no library."""
    pixels = bytes((60, 90, 150)) * side * side
    header = struct.pack("<2sIHHI", b"BM", 54 + len(pixels), 0, 0, 54)
    size = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 24, 0, len(pixels), 0, 0, 0, 0)
    return header + size + pixels


if __name__ == "__main__":
    sys.exit(main())
