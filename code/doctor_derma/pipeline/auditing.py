"""``derma audit``."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from doctor_derma.audits.report import write_audit
from doctor_derma.audits.suite import AUDITS, Audit, Audited
from doctor_derma.data.manifest import read_dataset
from doctor_derma.errors import DermaError
from doctor_derma.pipeline.models import predict, provenance
from doctor_derma.workspace import Workspace


def audit(
    workspace: Workspace, reference: str, names: Sequence[str], split: str, limit: int | None
) -> Iterator[tuple[str, Audit, Path]]:
    """Audit a run or bundle, in ``evaluation_images/audits/<model>/<audit>/``, one by one.

    Parameters
    ----------
    names : of ``AUDITS``; all of them when empty
    limit : pictures that the robustness audit takes, None for all

    Raises
    ------
    DermaError
        When a name is unknown, or as ``evaluate`` does.
    """
    if unknown := sorted(set(names) - set(AUDITS)):
        raise DermaError(f"audit '{unknown[0]}': unknown; use {', '.join(AUDITS)}")
    dataset = read_dataset(workspace.data)
    classifier, predictions = predict(workspace, reference, dataset, split)
    info = classifier.info
    audited = Audited(
        classifier,
        predictions,
        dataset,
        temperature=info.temperature,
        prevalence=info.prevalence,
        class_shares=info.class_shares,
        conformal_target=info.conformal.target,
        conformal_threshold=info.conformal.threshold,
        limit=limit,
    )
    for name in names or AUDITS:
        folder = workspace.evaluation_images / "audits" / info.name / name
        found = AUDITS[name](audited)
        write_audit(found, provenance(info, dataset, split), folder)
        yield name, found, folder
