"""``derma push`` and ``derma data push``: a model, or a data set, to the Hugging Face Hub."""

from typing import Annotated

import typer
import yaml

from doctor_derma.errors import DermaError
from doctor_derma.terminal import terminal, with_progress
from doctor_derma.workspace import Workspace

Address = Annotated[str, typer.Argument(metavar="hf://USER/NAME", help="Where to.")]
Private = Annotated[bool, typer.Option("--private", help="Make a new repository private.")]
# What the hub and those who search it read of a model; the card has it at its head.
HEAD = ("license", "library_name", "pipeline_tag")
# Pictures of one commit: the hub allows so many commits an hour.
BATCH = 1000


def push(
    address: Address,
    model: Annotated[
        str, typer.Argument(help="A run's name, a bundle's folder, or 'champion'.")
    ] = "champion",
    private: Private = False,
) -> None:
    """Put a model on the Hugging Face Hub: its bundle, and its card as the page."""
    from doctor_derma.bundle import CARD_FILE, INFO_FILE, read_card, read_info
    from doctor_derma.commands.models import find_bundle
    from doctor_derma.hub import LICENCE_FILE, push, repository

    repo = repository(address)
    bundle = find_bundle(Workspace.find(), model)
    info = read_info(bundle)
    head = _head(read_card(bundle))
    if missing := [name for name in HEAD if name not in head]:
        raise DermaError(
            f"{bundle / CARD_FILE}: its head has no {missing[0]}, which the hub reads; write the "
            f"card again with 'derma card {model}'"
        )
    names = (INFO_FILE, info.weights.file, CARD_FILE, LICENCE_FILE)
    files = {name: bundle / name for name in names if (bundle / name).is_file()}
    page = push(repo, files, f"{info.name}, weights {info.weights.sha256[:12]}", private=private)
    terminal(soft_wrap=True).print(f"Pushed to {page}\nNext: derma predict FILE --model {address}")


def push_data(
    address: Address,
    licence: Annotated[str | None, typer.Option(help="Licence of the data.")] = None,
    with_pictures: Annotated[
        bool, typer.Option("--with-pictures", help="Copy the pictures, too; needs --licence.")
    ] = False,
    private: Private = False,
) -> None:
    """Put the table of the data set on the Hugging Face Hub, and its pictures if allowed."""
    from doctor_derma.data.manifest import read_dataset
    from doctor_derma.data.sharing import picture_files, table_files
    from doctor_derma.hub import push, repository

    repo, dataset = repository(address, "dataset"), read_dataset(Workspace.find().data)
    if with_pictures and not licence:
        raise DermaError(
            f"--with-pictures: copies {len(dataset.table):,} pictures to the hub; name the licence "
            f"that allows it with --licence (the data say '{dataset.info.licence}'), after you "
            "have read it"
        )
    table = table_files(dataset, licence, with_pictures)
    console = terminal(soft_wrap=True)
    if with_pictures:
        pictures = [*picture_files(dataset).items()]
        for start in with_progress(range(0, len(pictures), BATCH), "Pushing pictures"):
            part = dict(pictures[start : start + BATCH])
            push(repo, part, f"Pictures from {start + 1:,}", "dataset", private)
        console.print(f"{len(pictures):,} pictures; that {licence} allows it is on your word")
    # The table is last: where it is, all that it names is there.
    message = f"{dataset.info.name}, table {dataset.fingerprint[:12]}"
    page = push(repo, table, message, "dataset", private)
    console.print(f"Pushed to {page}")


def _head(card: str) -> dict[str, object]:
    _, *parts = card.split("---\n", 2) if card.startswith("---\n") else [""]
    try:
        head = yaml.safe_load(parts[0]) if len(parts) == 2 else None
    except yaml.YAMLError:
        head = None
    return head if isinstance(head, dict) else {}
