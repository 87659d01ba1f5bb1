"""What joins the rooms up: the steps behind the commands of ``derma``."""

from doctor_derma.pipeline.auditing import audit
from doctor_derma.pipeline.evaluating import compare, compare_over_seeds, evaluate
from doctor_derma.pipeline.leaving_out import LeftOut, train_leaving_out
from doctor_derma.pipeline.models import find_bundle
from doctor_derma.pipeline.publishing import promote, write_model_card
from doctor_derma.pipeline.training import Fit, resume_run, start_run

__all__ = [
    "Fit",
    "LeftOut",
    "audit",
    "compare",
    "compare_over_seeds",
    "evaluate",
    "find_bundle",
    "promote",
    "resume_run",
    "start_run",
    "train_leaving_out",
    "write_model_card",
]
