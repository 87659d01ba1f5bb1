"""What figures say, as sentences of a model card: derived from them, never written by hand."""

import math

import pandas as pd

from doctor_derma.audits.coverage import COVERAGE
from doctor_derma.audits.groups import ALL, interval_of
from doctor_derma.audits.localisation import DIFFERENCE, GAUSSIAN, MODEL
from doctor_derma.audits.robustness import MEAN, find_interval
from doctor_derma.audits.subgroups import METRICS
from doctor_derma.bundle import BundleInfo
from doctor_derma.decisions import MELANOMA
from doctor_derma.evaluation.bootstrap import LEVEL, Interval
from doctor_derma.evaluation.metrics import MELANOMA_AT_SPECIFICITY
from doctor_derma.reporting.evidence import Evaluation, Evidence
from doctor_derma.reporting.tables import HEADLINES

_FIRST = ("macro_auc", "balanced_accuracy", "accuracy", MELANOMA_AT_SPECIFICITY)


def read_headline(info: BundleInfo, evidence: Evidence) -> str:
    """Say in one sentence how good the model is."""
    if tested := evidence.evaluation:
        where = f"On the test split ({tested.images:,} images of {tested.lesions:,} lesions)"
        note = f"{LEVEL:.0%} intervals in brackets."
        return f"{where}: {_listed({k: str(v) for k, v in tested.metrics.items()})}; {note}"
    split = "test" if "test" in info.metrics else "val"
    found = _listed({name: f"{value:.3f}" for name, value in info.metrics.get(split, {}).items()})
    if not found:
        return "How good it is was not measured."
    if split == "test":
        return f"On the test split, without intervals: {found}."
    return (
        f"On {info.conformal.images:,} images that training has not seen, and to which temperature "
        f"and thresholds are fitted: {found}. It was not measured on the test split."
    )


def read_melanoma(info: BundleInfo, evaluation: Evaluation) -> str:
    """Say how many melanomas are missed; empty where there are none."""
    sensitivity = evaluation.metrics.get(f"sensitivity_{MELANOMA}")
    if sensitivity is None or math.isnan(sensitivity.value):
        return ""
    missed = Interval(1 - sensitivity.value, 1 - sensitivity.high, 1 - sensitivity.low)
    found = evaluation.metrics.get(MELANOMA_AT_SPECIFICITY)
    threshold = (
        f"A threshold on the probability of melanoma that 90% of all other images are under finds "
        f"{_percent(found)} of them. "
        if found
        else ""
    )
    return (
        f"Of the melanomas of the test split, {_percent(missed)} are called something else by "
        f"the rule `{info.decision.default}`. {threshold}A low probability of melanoma rules "
        "nothing out."
    )


def read_coverage(info: BundleInfo, frame: pd.DataFrame) -> str:
    """Name the classes whose prediction sets hold the true class less often than aimed at."""
    shares = frame[(frame["measure"] == COVERAGE) & (frame["class"] != ALL)]
    short = shares[shares["high"] < info.conformal.target]["class"].tolist()
    target = f"{info.conformal.target:.0%}"
    if not short:
        return f"No class is shown to be below the target of {target}."
    return f"Below the target of {target} by more than chance: {', '.join(short)}."


def read_groups(frame: pd.DataFrame) -> str:
    """Count the gaps that are flagged, and name the groups that do worse."""
    flagged = frame[frame["flagged"]]
    if flagged.empty:
        return "No group is shown to differ from the others."
    # The more overconfident, the worse; of all others less is worse.
    worse = flagged[(flagged["difference"] < 0) != (flagged["metric"] == "overconfidence")]
    named = []
    for (attribute, group), gaps in worse.groupby(["attribute", "group"], sort=False):
        lost = [
            f"{METRICS[gap['metric']]} {gap['difference']:+.3f}" for gap in gaps.to_dict("records")
        ]
        named.append(f"{attribute}, {group} ({', '.join(lost)})")
    count = f"{len(flagged)} gaps are" if len(flagged) > 1 else "1 gap is"
    return f"{count} flagged. Worse than the others: {'; '.join(named) or 'none'}."


def read_localisation(frame: pd.DataFrame) -> str:
    """Hold the maps against one that always looks at the middle."""
    hits = frame[(frame["class"] == ALL) & (frame["decision"] == ALL) & (frame["measure"] == "hit")]
    figures = {row["map"]: interval_of(row) for row in hits.to_dict("records")}
    difference = figures[DIFFERENCE]
    if difference.low > 0:
        verdict = "Maps find lesions better than that."
    elif difference.high < 0:
        verdict = "Maps find lesions worse than that: don't take them for outlines or reasons."
    else:
        verdict = "Maps are not shown to find lesions better than that."
    return (
        f"The strongest evidence for the called class lies in the lesion in "
        f"{_percent(figures[MODEL])} of the images; that of a map that always looks at the "
        f"middle, in {_percent(figures[GAUSSIAN])}. {verdict}"
    )


def read_robustness(frame: pd.DataFrame) -> str:
    """Name the corruption that costs most."""
    means = frame[(frame["severity"] == MEAN) & (frame["metric"] == "accuracy")]
    means = means[means["corruption"] != ALL]
    worst = str(means.sort_values("drop")["corruption"].iloc[-1])
    lost = find_interval(frame, worst, MEAN, "accuracy", "drop")
    return f"{worst.capitalize()} costs most: {lost} of accuracy on the mean of five severities."


def _listed(figures: dict[str, str]) -> str:
    titles = {name: HEADLINES[name] for name in _FIRST if name in figures}
    return ", ".join(f"{title[0].lower()}{title[1:]} {figures[k]}" for k, title in titles.items())


def _percent(share: Interval) -> str:
    return f"{share.value:.0%} ({share.low:.0%} to {share.high:.0%})"
