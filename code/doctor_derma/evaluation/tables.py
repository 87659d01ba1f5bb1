"""The numbers of an evaluation or a comparison as tables, for the terminal and the report."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table as RichTable
from rich.text import Text

from doctor_derma.decisions import Rule
from doctor_derma.diagnoses import full_name
from doctor_derma.evaluation.bootstrap import Interval
from doctor_derma.evaluation.comparison import Comparison, Difference
from doctor_derma.evaluation.metrics import (
    CLASS_METRICS,
    HEADLINE_METRICS,
    LOWER_IS_BETTER,
    OVERALL_METRICS,
    RULE_METRICS,
)
from doctor_derma.evaluation.predictions import Predictions
from doctor_derma.evaluation.seeds import SeedDifference

BOOTSTRAP_NOTE = (
    "↑ higher is better, ↓ lower is better. Intervals: percentile bootstrap over lesions."
)


@dataclass(frozen=True)
class Table:
    """A table of texts; rich prints it as it is: ``console.print(table)``.

    The first ``words`` columns hold words and are set left, the others hold numbers.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    words: int = 1

    def __rich__(self) -> RichTable:
        table = RichTable(
            title=Text(self.title, style="bold"),
            title_justify="left",
            caption=Text(self.note) if self.note else None,
            caption_justify="left",
        )
        for position, name in enumerate(self.header):
            table.add_column(Text(name), justify="left" if position < self.words else "right")
        for row in self.rows:
            table.add_row(*(Text(cell) for cell in row))
        return table


def evaluation_tables(
    predictions: Predictions,
    intervals: Mapping[str, Interval],
    rules: Mapping[Rule, Mapping[str, Interval]],
) -> list[Table]:
    """Tabulate one model: overall metrics, decision rules, the classes, metrics by class."""
    extent = f"{len(predictions.images):,} images of {predictions.lesion_count:,} lesions"
    overall = Table(
        f"{predictions.name} on {extent}",
        ("Metric", "Value (95% interval)"),
        tuple((_titled(metric), str(intervals[metric])) for metric in OVERALL_METRICS),
        f"{BOOTSTRAP_NOTE} Accuracies are of the rule {predictions.rule}.",
    )
    return [overall, rule_table(rules, predictions.rule), *class_tables(predictions, intervals)]


def class_tables(predictions: Predictions, intervals: Mapping[str, Interval]) -> list[Table]:
    """Tabulate the classes, and their metrics by call and by rank."""
    classes = Table(
        "Classes",
        ("Class", "Diagnosis", "Images", "Lesions"),
        tuple(
            (name, full_name(name), f"{images:,}", f"{lesions:,}")
            for name, (images, lesions) in predictions.class_counts().items()
        ),
        words=2,
    )
    titles = {
        f"Calling by the rule {predictions.rule}": ("sensitivity", "specificity", "ppv"),
        "Ranking by probability": ("auc", "average_precision", "sensitivity_at_90_specificity"),
    }
    by_class = [
        Table(
            f"{title}, each against the rest (95% interval)",
            ("Class", *(CLASS_METRICS[metric] for metric in metrics)),
            tuple(
                (name, *(str(intervals[f"{metric}_{name}"]) for metric in metrics))
                for name in predictions.classes
            ),
        )
        for title, metrics in titles.items()
    ]
    return [classes, *by_class]


def rule_table(rules: Mapping[Rule, Mapping[str, Interval]], default: Rule) -> Table:
    """Tabulate what each decision rule does with the same probabilities."""
    shown = {name: title for name, title in RULE_METRICS.items() if name in rules[default]}
    # Words below each other, so that the metrics fit a terminal.
    rows = (
        (rule.replace("-", "\n"), *(str(figures[metric]) for metric in shown))
        for rule, figures in rules.items()
    )
    return Table(
        "Decision rules on the same probabilities (95% interval)",
        ("Rule", *(title.replace(" ", "\n") for title in shown.values())),
        tuple(rows),
        f"The label is that of the rule {default} unless another is asked for.",
    )


def comparison_tables(comparison: Comparison) -> list[Table]:
    """Tabulate several models: their metrics, and the differences of every pair."""
    names = [model.name for model in comparison.models]
    metrics = Table(
        "Models on the same images (95% interval)",
        ("Metric", *names),
        tuple(
            (_titled(metric), *(str(comparison.intervals[name][metric]) for name in names))
            for metric in HEADLINE_METRICS
        ),
        BOOTSTRAP_NOTE,
    )
    resampled = "The same resampled lesions for both."
    differences = difference_tables(comparison.differences, HEADLINE_METRICS, resampled)
    mcnemar = Table(
        "Lesions named rightly by one model only (exact McNemar test)",
        ("Pair", "Only first", "Only second", "p", "p (Holm)"),
        tuple(
            (
                f"{test.first} and {test.second}",
                f"{test.only_first_right:,}",
                f"{test.only_second_right:,}",
                format_p(test.p_value),
                format_p(test.p_holm),
            )
            for test in comparison.mcnemar
        ),
        "A lesion is called by its model's rule at the mean of the probabilities over its images.",
    )
    return [metrics, *differences, mcnemar]


def difference_tables(
    differences: Sequence[Difference], titles: Mapping[str, str], resampled: str
) -> list[Table]:
    """Tabulate the differences of each pair, a row a metric, with each seed's where there are."""
    over_seeds = isinstance(differences[0], SeedDifference)
    header = ("By seed", "Mean (95% interval)") if over_seeds else ("Difference (95% interval)",)
    rows: dict[tuple[str, str], list[tuple[str, ...]]] = {}
    for d in differences:
        steps = d.by_seed if isinstance(d, SeedDifference) else ()
        row = (
            with_arrow(d.metric, titles[d.metric]),
            *(["  ".join(f"{step:+.3f}" for step in steps)] if over_seeds else []),
            *(d.interval.signed, format_p(d.p_value), format_p(d.p_holm)),
        )
        rows.setdefault((d.first, d.second), []).append(row)
    note = (
        f"{resampled} Two-sided bootstrap p, corrected by Holm's method for the pairs of each "
        "metric."
    )
    return [
        Table(f"{second} minus {first}", ("Metric", *header, "p", "p (Holm)"), tuple(found), note)
        for (first, second), found in rows.items()
    ]


def counted(number: int, name: str) -> str:
    """Write a number of things: "1 seed", "3 seeds"."""
    return f"{number:,} {name}" if number == 1 else f"{number:,} {name}s"


def format_p(p_value: float) -> str:
    """Write a p-value with three decimals, or as less than 0.001."""
    return "<0.001" if p_value < 0.001 else f"{p_value:.3f}"


def state_p(p_value: float) -> str:
    """Write a p-value into a text: "p = 0.040", or "p < 0.001"."""
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"


def provenance_table(infos: Mapping[str, Mapping[str, Any]]) -> Table:
    """Tabulate what is known of each model's evaluation, one column a model."""
    keys = list(dict.fromkeys(key for info in infos.values() for key in info))
    rows = ((key, *(as_text(info.get(key, "")) for info in infos.values())) for key in keys)
    return Table("Provenance", ("", *infos), tuple(rows), words=1 + len(infos))


def as_text(value: Any) -> str:
    """Write a JSON value: a text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, default=str)


def with_arrow(metric: str, title: str) -> str:
    """Add to a metric's title whether higher or lower is better."""
    return f"{title}\N{NO-BREAK SPACE}{'↓' if metric in LOWER_IS_BETTER else '↑'}"


def _titled(metric: str) -> str:
    return with_arrow(metric, OVERALL_METRICS[metric])
