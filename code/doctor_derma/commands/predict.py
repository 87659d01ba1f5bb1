"""``derma predict``."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from doctor_derma.commands.options import (
    Address,
    Bundle,
    CostsFile,
    Engine,
    RuleChoice,
    bundle_or_champion,
    check_engine,
    costs_in,
)
from doctor_derma.errors import DermaError
from doctor_derma.terminal import terminal


def predict(
    paths: Annotated[
        list[str],
        typer.Argument(help="Files, folders, patterns; with --engine ray also tar, Parquet, URLs."),
    ],
    model: Bundle = None,
    format: Annotated[
        Literal["table", "json", "csv", "isic", "label-studio"],
        typer.Option(help="Output; isic is a submission to the ISIC challenge; see --rank."),
    ] = "table",
    output: Annotated[Path | None, typer.Option(help="File; default: the screen.")] = None,
    engine: Engine = "local",
    out: Annotated[
        Path | None, typer.Option(help="Folder for the Parquet files of --engine ray.")
    ] = None,
    address: Address = None,
    url: Annotated[
        str | None, typer.Option(help="Address of a server to ask, instead of a model here.")
    ] = None,
    api_key: Annotated[
        str | None, typer.Option(envvar="DERMA_API_KEY", help="Key that the server asks for.")
    ] = None,
    rule: RuleChoice = None,
    costs: CostsFile = None,
    age: Annotated[
        float | None, typer.Option(help="Age of the patient, for a model that takes it.")
    ] = None,
    sex: Annotated[
        Literal["female", "male"] | None,
        typer.Option(help="Sex of the patient, for a model that takes it."),
    ] = None,
    site: Annotated[
        str | None, typer.Option(help="Body site of all pictures, for a model that takes it.")
    ] = None,
    rank: Annotated[
        bool,
        typer.Option("--rank", help="Sort by what a model would learn most from, for labelling."),
    ] = False,
    image_url: Annotated[
        str | None,
        typer.Option(help="Prefix of the pictures' addresses, for --format label-studio."),
    ] = None,
) -> None:
    """Classify pictures. Exits with 1 when some couldn't be read. Not a diagnosis."""
    check_engine(engine, {"--out": out, "--address": address})
    if rank and (url or engine == "ray"):
        raise DermaError("--rank: compares pictures here; leave --url and --engine ray out")
    if format == "label-studio" and not rank:
        raise DermaError("--format label-studio: is of pictures to be labelled; add --rank")
    if image_url and format != "label-studio":
        raise DermaError("--image-url: belongs to --format label-studio; add it, or leave it out")
    from doctor_derma.inference.patient import Patient

    patient = Patient(age, sex, site)
    if patient.known and (rank or engine == "ray"):
        raise DermaError(
            f"--{patient.known[0]}: is of one patient; leave it out with --rank and --engine ray"
        )
    if engine == "ray":
        if url or output or format != "table":
            raise DermaError("--engine ray: writes Parquet to --out; leave --url and output out")
        if out is None:
            raise DermaError("--engine ray: give the folder for the Parquet files with --out")
    if url and model:
        raise DermaError("--url: the server has its own model; leave --model out")
    if url and costs:
        raise DermaError("--url: the server has its own costs; leave --costs out")
    if engine == "ray" and out:
        from doctor_derma.distributed.predict.run import predict_on_ray

        bundle, given = bundle_or_champion(model), costs_in(costs)
        predicted = predict_on_ray(paths, bundle, out, address, rule=rule, costs=given)
        failed = predicted.failed
        terminal(soft_wrap=True).print(
            f"{predicted.images:,} pictures, {failed:,} of them unreadable: {out}"
        )
    elif url:
        from doctor_derma.client.predict import run_remote_predict

        failed = run_remote_predict(paths, url, api_key, format, output, rule, patient)
    elif rank:
        from doctor_derma.inference.rank import LOCAL_FILES, run_rank

        bundle, begins = bundle_or_champion(model), image_url or LOCAL_FILES
        failed = run_rank(paths, bundle, format, output, begins, rule, costs_in(costs))
    else:
        from doctor_derma.inference.predict import run_predict

        bundle = bundle_or_champion(model)
        failed = run_predict(
            *(paths, bundle, format, output), rule=rule, costs=costs_in(costs), patient=patient
        )
    if failed:
        raise typer.Exit(1)
