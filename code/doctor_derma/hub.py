"""Models and data sets on the Hugging Face Hub: ``hf://USER/NAME`` to a folder, and files to there.

The package ``huggingface_hub`` is imported where it is needed and comes with the extra ``hub``. It
keeps what it has fetched in its cache, sends the token in ``HF_TOKEN`` (or that of ``hf auth
login``) and shows it nowhere; ``HF_ENDPOINT`` names another hub.
"""

import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal, NamedTuple

from doctor_derma.bundle import CARD_FILE, GRAPH_FILE, INFO_FILE, read_info
from doctor_derma.errors import DermaError

SCHEME = "hf://"
Kind = Literal["model", "dataset"]
# A folder of the hub's own file system begins with the kind of repository.
_ADDRESS = re.compile(r"hf://(datasets/)?([\w.-]+/[\w.-]+)(?:@([\w./-]+))?/?")
_SECONDS = 10.0
# Of a bundle whose licence asks for its text.
LICENCE_FILE = "LICENSE"
# What huggingface_hub raises, by the names that they have had in all its versions.
_REASONS = {
    "GatedRepoError": "its owner gives access on request; ask for it there, and set HF_TOKEN",
    "RepositoryNotFoundError": "there is none, or it is private; check the name, and set HF_TOKEN "
    "to a token that may see it",
    "RevisionNotFoundError": "has no such revision; name a branch, a tag or a commit",
    "RemoteEntryNotFoundError": f"holds no bundle ({INFO_FILE} is missing); put one there with "
    "'derma push'",
    "LocalEntryNotFoundError": "the hub can't be reached, and it is not in the cache; try again "
    "where it is",
    "LocalTokenNotFoundError": "asks who you are; set HF_TOKEN to a token of yours",
}


class Repository(NamedTuple):
    """A repository on the hub; ``revision`` is a branch, a tag or a commit, None for the newest."""

    name: str
    revision: str | None = None

    def __str__(self) -> str:
        return f"{SCHEME}{self.name}" + (f"@{self.revision}" if self.revision else "")


def is_on_hub(reference: str | Path) -> bool:
    """Say whether a model's name is an address on the hub."""
    return isinstance(reference, str) and reference.startswith(SCHEME)


def repository(address: str, kind: Kind = "model") -> Repository:
    """Read an address ``hf://USER/NAME`` or ``hf://USER/NAME@REVISION``.

    Raises a DermaError when it is none.

    Examples
    --------
    >>> repository("hf://ada/lesions@v2")
    Repository(name='ada/lesions', revision='v2')
    """
    found = _ADDRESS.fullmatch(address)
    if not found or (found[1] and kind != "dataset"):
        raise DermaError(
            f"{address}: is no {kind} on the hub; write hf://USER/NAME, @REVISION after"
        )
    return Repository(found[2], found[3])


def bundle_folder(reference: str | Path) -> Path:
    """Return the folder of a bundle: of an address on the hub the one in the cache, else as it is.

    What is not in the cache is fetched. Where the hub can't be reached, a bundle that was fetched
    before is taken from the cache; a commit that is there is never asked for again.

    Raises a DermaError when there is no such bundle, it can't be fetched, or its graph is not the
    one whose SHA-256 ``model.json`` has.
    """
    if not is_on_hub(reference):
        return Path(reference).expanduser()
    repo = repository(str(reference))
    with _one_sentence(repo):
        from huggingface_hub import try_to_load_from_cache
        from huggingface_hub.errors import EntryNotFoundError

        info = _fetch(repo, INFO_FILE)
        # What else is fetched is of the same commit.
        commit = repo._replace(revision=info.parent.name)
        _fetch(commit, GRAPH_FILE)
        for name in (CARD_FILE, LICENCE_FILE):
            # The cache has its file, or that there is none.
            if try_to_load_from_cache(commit.name, name, revision=commit.revision) is None:
                with suppress(EntryNotFoundError):
                    _fetch(commit, name)
    try:
        read_info(info.parent)
    except DermaError as error:
        raise DermaError(
            f"{repo}: what was fetched is no bundle that can be used: {error}; delete "
            f"{info.parents[2]} to fetch it again"
        ) from error
    return info.parent


def refuse_hub(reference: str | Path, what: str) -> None:
    """Refuse to change a bundle on the hub, whose copy in the cache is that of a commit.

    Raises a DermaError when it is on the hub.
    """
    if is_on_hub(reference):
        raise DermaError(
            f"{reference}: {what} is written into a bundle of yours; copy this one with "
            f"'derma promote {reference} --to FOLDER' and name that folder"
        )


def push(
    repo: Repository,
    files: Mapping[str, Path | bytes],
    message: str,
    kind: Kind = "model",
    private: bool = False,
) -> str:
    """Put files into a repository in one commit, and return the address of its page.

    ``files`` are by their names there, each a file here or its content. A repository that is not
    there is made, where ``private`` a private one; one that is there stays as it is.

    Raises a DermaError when the hub can't be reached or refuses.
    """
    with _one_sentence(repo):
        from huggingface_hub import CommitOperationAdd, HfApi

        api = HfApi(endpoint=_endpoint(), library_name="doctor_derma")
        made = api.create_repo(repo.name, repo_type=kind, private=private or None, exist_ok=True)
        added = [CommitOperationAdd(name, file) for name, file in files.items()]
        api.create_commit(
            repo.name, added, commit_message=message, repo_type=kind, revision=repo.revision
        )
    return str(made)


def _fetch(repo: Repository, name: str) -> Path:
    import huggingface_hub as hub

    known = hub.try_to_load_from_cache(repo.name, name, revision=repo.revision)
    if not isinstance(known, str):
        # Asked once first: what is not in the cache, the hub's client asks for a minute.
        url = hub.hf_hub_url(repo.name, name, revision=repo.revision, endpoint=_endpoint())
        hub.get_hf_file_metadata(url, token=hub.get_token(), timeout=_SECONDS)
    found = hub.hf_hub_download(
        repo.name, name, revision=repo.revision, endpoint=_endpoint(), etag_timeout=_SECONDS
    )
    return Path(found)


def _endpoint() -> str | None:
    # As the hub's client does, but when it is asked for and not when it is imported.
    return os.environ.get("HF_ENDPOINT", "").rstrip("/") or None


@contextmanager
def _one_sentence(repo: Repository) -> Iterator[None]:
    try:
        import huggingface_hub.utils as hub
    except ModuleNotFoundError as error:
        raise DermaError(
            f"{repo}: needs the package huggingface_hub; install it with: "
            "pip install 'doctor-derma[hub]'"
        ) from error
    if not sys.stderr.isatty():
        hub.disable_progress_bars()
    try:
        yield
    except DermaError:
        raise
    except Exception as error:  # It raises what its HTTP library raises, which has changed.
        raise DermaError(f"{repo}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """Say what is wrong; nothing of the request, whose headers hold the token."""
    for kind in type(error).__mro__:
        if kind.__name__ in _REASONS:
            return _REASONS[kind.__name__]
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    if status in (401, 403):
        return f"the hub refuses (HTTP {status}); set HF_TOKEN to a token that may do this"
    if status is not None:
        return f"the hub answers HTTP {status}; try again later"
    if isinstance(error, OSError) and error.errno is not None:
        return f"{error.filename or 'the cache'} can't be written ({error.strerror}); set HF_HOME"
    if isinstance(error, ValueError):  # Of what it was given, such as a card's head.
        return f"the hub's client refuses ({' '.join(str(error).split())})"
    return (
        f"the hub can't be reached ({type(error).__name__}); try again where it is, or name a "
        "folder with a bundle"
    )
