"""The few calls to Heroku's Platform API that a release needs.

https://devcenter.heroku.com/articles/platform-api-reference and, for images,
https://devcenter.heroku.com/articles/container-registry-and-runtime
"""

from dataclasses import dataclass
from typing import Any

import httpx
from exits import ReleaseError
from patience import Patience

API = "https://api.heroku.com"
PLAIN = "application/vnd.heroku+json; version=3"
# The variant in which a formation takes images.
WITH_IMAGES = f"{PLAIN}.docker-releases"
# Too many requests, and faults that pass by themselves. Every call here may be repeated: an image
# that already runs makes no second release, and a second rollback changes nothing.
PASSING = frozenset({429, 500, 502, 503, 504})
REQUEST_SECONDS = 30.0


@dataclass(frozen=True)
class Release:
    """One entry of an app's history."""

    id: str
    version: int
    status: str = "succeeded"


@dataclass(frozen=True)
class Dyno:
    """A web process: the version of the release that it runs, and ``up``, ``starting`` etc."""

    version: int
    state: str


class Heroku:
    """One app, seen through the API.

    Every method raises ``ReleaseError`` when Heroku refuses, or does not answer after all
    attempts.
    """

    def __init__(self, app: str, key: str, patience: Patience, api: str = API) -> None:
        self._app = app
        self._patience = patience
        self._http = httpx.Client(
            base_url=api,
            timeout=REQUEST_SECONDS,
            headers={"Authorization": f"Bearer {key}", "User-Agent": "doctor-derma-release"},
        )

    def address(self) -> str:
        """Return where the app is reached."""
        return str(self._ask("GET", "")["web_url"]).rstrip("/")

    def latest_release(self) -> Release:
        """Return the last entry of the app's history."""
        found = self._ask("GET", "/releases", headers={"Range": "version ..; order=desc, max=1"})
        return _release(found[0])

    def release_to_return_to(self) -> Release | None:
        """Return the release that runs; None where none has a web process yet."""
        if not any(entry["type"] == "web" for entry in self._ask("GET", "/formation")):
            return None
        recent = self._ask("GET", "/releases", headers={"Range": "version ..; order=desc, max=20"})
        current = next((entry for entry in recent if entry.get("current")), recent[0])
        return _release(current)

    def release_image(self, image_id: str) -> Release:
        """Run an image of the registry as the web process, and return the release."""
        updates = [{"type": "web", "docker_image": image_id}]
        headers = {"Accept": WITH_IMAGES}
        self._ask("PATCH", "/formation", json={"updates": updates}, headers=headers)
        return self.latest_release()

    def roll_back(self, release: Release) -> Release:
        """Make a new release of what an earlier one ran, and return it."""
        return _release(self._ask("POST", "/releases", json={"release": release.id}))

    def web_dynos(self) -> list[Dyno]:
        """List the web processes, old ones that are about to stop among them."""
        return [
            Dyno(entry["release"]["version"], entry["state"])
            for entry in self._ask("GET", "/dynos")
            if entry["type"] == "web"
        ]

    def _ask(
        self,
        method: str,
        path: str,
        json: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Any:
        failures = 0
        while True:
            retry_after = 0.0
            try:
                response = self._http.request(
                    method,
                    f"/apps/{self._app}{path}",
                    json=json,
                    headers={"Accept": PLAIN, **(headers or {})},
                )
            except httpx.RequestError as error:
                problem = f"Heroku's API does not answer ({type(error).__name__}); try again later"
            else:
                if response.is_success:
                    return _content(response)
                problem = _problem(response, self._app)
                if response.status_code not in PASSING:
                    raise ReleaseError(problem)
                retry_after = _seconds(response.headers.get("Retry-After"))
            failures += 1
            if not self._patience.before_retry(failures, retry_after):
                raise ReleaseError(problem)


def _release(entry: dict[str, Any]) -> Release:
    return Release(entry["id"], entry["version"], entry.get("status", "succeeded"))


def _content(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError as error:
        raise ReleaseError(
            "what answers at the address of Heroku's API is not Heroku; check --api and proxies"
        ) from error


def _problem(response: httpx.Response, app: str) -> str:
    status = response.status_code
    if status == 401:
        return "HEROKU_API_KEY is refused; make a new one with 'heroku authorizations:create'"
    if status in (403, 404):
        return f"app '{app}' is not there for this HEROKU_API_KEY ({status}); check HEROKU_APP"
    try:
        said = str(response.json()["message"])
    except (ValueError, KeyError, TypeError):
        said = response.reason_phrase
    step = f"{response.request.method} {response.request.url.path}"
    return f"Heroku answers {step} with {status}: {said.rstrip('.')}; see status.heroku.com"


def _seconds(retry_after: str | None) -> float:
    # The other form, a date, is not used by Heroku.
    try:
        return max(0.0, float(retry_after or 0))
    except ValueError:
        return 0.0
