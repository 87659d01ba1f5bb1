"""Everything that is kept of a comparison over seeds, in one folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from doctor_derma.atomic import replacing_own_folder
from doctor_derma.evaluation.bootstrap import RESAMPLES
from doctor_derma.evaluation.cost import Cost
from doctor_derma.evaluation.html import Plot, Report, write_html
from doctor_derma.evaluation.plots.replicates import plot_seed_differences
from doctor_derma.evaluation.plots.style import save_png
from doctor_derma.evaluation.predictions import Predictions
from doctor_derma.evaluation.replicate_design import Replicate
from doctor_derma.evaluation.replicates import SeedComparison, compare_over_seeds
from doctor_derma.evaluation.replicates_results import (
    seed_comparison_summary,
    write_seed_tables,
)
from doctor_derma.evaluation.replicates_tables import (
    runs_provenance_table,
    seed_comparison_tables,
)
from doctor_derma.evaluation.report import REPORT_FILE, extent
from doctor_derma.evaluation.results import METRICS_FILE, write_json
from doctor_derma.evaluation.tables import counted

PLOT_FILE = "replicates.png"
CAPTION = (
    "The interval is of the mean, over seeds and lesions resampled; with few seeds it is rough. "
    "Blue circles: Holm-corrected p below 0.05. Grey diamonds: not shown to differ."
)


def write_seed_comparison(
    replicates: Sequence[Replicate],
    models: Sequence[Predictions],
    infos: Sequence[Mapping[str, Any]],
    costs: dict[str, Cost],
    folder: Path,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> SeedComparison:
    """Compare architectures over seeds and replace the folder of that comparison.

    Written are ``replicates.csv`` (a row a run), ``differences.csv`` (a row a metric and pair
    of architectures), ``cost.csv``, ``metrics.json``, ``replicates.png`` and ``report.html``.

    Parameters
    ----------
    replicates, models : the runs and their predictions of the same images
    infos : what is known of each run, as for ``write_evaluation``
    costs : architecture -> what it costs on one thread
    folder : such as ``evaluation_images/seeds``
    resamples, seed : of the bootstrap

    Raises
    ------
    DermaError
        As ``compare_over_seeds`` does, or when ``folder`` holds something else than results.
    """
    with replacing_own_folder(folder, METRICS_FILE) as scratch:
        comparison = compare_over_seeds(replicates, models, resamples, seed)
        by_run = {run.name: info for run, info in zip(replicates, infos, strict=True)}
        write_seed_tables(comparison, costs, scratch)
        summary = seed_comparison_summary(comparison, by_run, costs, resamples, seed)
        write_json(summary, scratch / METRICS_FILE)
        save_png(plot_seed_differences(comparison), scratch / PLOT_FILE)
        names = ", ".join(comparison.architectures)
        report = Report(
            title=f"Comparison of {names} over {counted(len(comparison.seeds), 'seed')}",
            subtitle=f"{extent(comparison.models[0])}, split '{infos[0].get('split', 'unknown')}'",
            tables=seed_comparison_tables(comparison, costs),
            plots=[Plot(scratch / PLOT_FILE, CAPTION)],
            galleries=[],
            provenance=runs_provenance_table(by_run),
        )
        write_html(report, scratch / REPORT_FILE)
    return comparison
