"""A proxy that puts a server under a path and says nothing to it of that, as many do."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

# Not of one connection for another.
_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"}


@contextmanager
def under_path(server: str, prefix: str) -> Iterator[str]:
    """Give the address, with a slash at its end, under which a server is seen.

    Parameters
    ----------
    prefix : such as ``/user/me/proxy/5555``
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if not self.path.startswith(f"{prefix}/"):
                self.send_error(404, "nothing outside the path")
                return
            length = int(self.headers.get("Content-Length", 0))
            sent = {name: value for name, value in self.headers.items() if name != "Host"}
            with httpx.Client(trust_env=False, timeout=30) as client:
                answer = client.request(
                    self.command,
                    server + self.path.removeprefix(prefix),
                    headers=sent,
                    content=self.rfile.read(length),
                )
            self.send_response(answer.status_code)
            for name, value in answer.headers.items():
                if name not in _HOP and name != "content-encoding":
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, format: str, *args: object) -> None:
            pass

    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=proxy.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{proxy.server_port}{prefix}/"
    finally:
        proxy.shutdown()
        thread.join()
        proxy.server_close()
