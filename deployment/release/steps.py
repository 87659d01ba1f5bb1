"""Push, release, wait, test, and the way back."""

from collections.abc import Callable

import httpx
from exits import Exit, ReleaseError
from heroku import Heroku, Release
from patience import Patience

HEALTH_SECONDS = 10.0
Push = Callable[[], str]
Check = Callable[[str], None]
Say = Callable[[str], None]


def release(heroku: Heroku, push: Push, check: Check, patience: Patience, say: Say) -> Exit:
    """Release an image and keep it only if it is healthy.

    Parameters
    ----------
    push : brings the image to the registry and returns its id
    check : asks the app at an address for a prediction; raises ``ReleaseError``
    say : takes a line for each step

    Raises
    ------
    ReleaseError
        When something fails before anything was released.
    """
    url = heroku.address()
    previous = heroku.release_to_return_to()
    say("pushing the image")
    image_id = push()
    say(f"releasing {image_id[:19]}")
    try:
        released = heroku.release_image(image_id)
        if previous and released.id == previous.id:
            say(f"v{released.version} runs this image already")
        _settle(heroku, released, url, patience, say)
        say("asking for a prediction")
        check(url)
    # Interrupted, too: nobody has seen the new release work.
    except (ReleaseError, KeyboardInterrupt) as error:
        say(f"the new release is not healthy: {error or 'interrupted'}")
        return _return_to(heroku, previous, url, patience, say)
    say(f"v{released.version} is healthy at {url}")
    return Exit.RELEASED


def _return_to(
    heroku: Heroku, previous: Release | None, url: str, patience: Patience, say: Say
) -> Exit:
    if previous is None:
        say("there is no earlier release with a web process to go back to; see 'heroku logs'")
        return Exit.BROKEN
    try:
        latest = heroku.latest_release()
        if latest.id == previous.id:
            say(f"nothing was released; v{previous.version} is still the current one")
            return Exit.BROKEN if _unwell(url) else Exit.UNCHANGED
        say(f"rolling back to v{previous.version}")
        _settle(heroku, heroku.roll_back(previous), url, patience, say)
    except ReleaseError as error:
        say(f"rolling back failed, do it by hand ('heroku rollback v{previous.version}'): {error}")
        return Exit.BROKEN
    say(f"rolled back to v{previous.version}, which is ready")
    return Exit.ROLLED_BACK


def _settle(heroku: Heroku, released: Release, url: str, patience: Patience, say: Say) -> None:
    """Wait until a release, and nothing older, is ready for pictures.

    Heroku's router sends requests to old dynos until they stop, so an answer from the app says
    nothing before all of them are gone.
    """
    if released.status == "failed":
        raise ReleaseError(f"Heroku calls v{released.version} failed; see 'heroku releases'")
    say(f"waiting for v{released.version}")
    found = ""
    for _ in patience.looks():
        dynos = heroku.web_dynos()
        ours = [dyno.state for dyno in dynos if dyno.version >= released.version]
        if "crashed" in ours:
            raise ReleaseError(f"a dyno of v{released.version} has crashed; see 'heroku logs'")
        if not dynos:
            found = "there is no web dyno, 'heroku ps:scale web=1' starts one"
        elif len(ours) < len(dynos) or set(ours) != {"up"}:
            up = ours.count("up")
            found = f"{up} of {len(dynos)} dynos run it and are up"
        elif not (found := _unwell(url)):
            return
    raise ReleaseError(
        f"v{released.version} was not ready after {patience.start:.0f} seconds ({found}); "
        "see 'heroku logs'"
    )


def _unwell(url: str) -> str:
    """Say what is wrong with the app's /readyz; nothing when it is ready."""
    try:
        status = httpx.get(f"{url}/readyz", timeout=HEALTH_SECONDS).status_code
    except httpx.RequestError as error:
        return f"/readyz does not answer ({type(error).__name__})"
    return "" if status == 200 else f"/readyz answers {status}"
