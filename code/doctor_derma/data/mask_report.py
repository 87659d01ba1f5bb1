"""What the import of lesion masks tells: what was used, and why the rest was not."""

import csv
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

REPORT_COLUMNS = ("image", "reason", "detail")


class MaskReason(StrEnum):
    """Why an image or a mask is in the report of the masks."""

    NO_MASK = "no-mask"
    NO_IMAGE = "no-image"
    DUPLICATE = "duplicate"
    UNREADABLE = "unreadable"
    WRONG_SHAPE = "wrong-shape"
    NOT_BINARY = "not-binary"
    EMPTY = "empty"


@dataclass(frozen=True)
class ReportedMask:
    """A row of the report: an image without a usable mask, or a mask that wasn't used."""

    image: str
    reason: MaskReason
    detail: str


@dataclass(frozen=True)
class MaskSummary:
    """What became of the masks of a source.

    Attributes
    ----------
    seen, kept : masks in the source, masks that were written
    reported : rows of ``masks/import_report.csv``
    """

    seen: int
    kept: int
    reported: tuple[ReportedMask, ...]

    @property
    def reasons(self) -> dict[str, int]:
        """Number of reported images and masks by reason, most frequent first."""
        return dict(Counter(str(report.reason) for report in self.reported).most_common())


def write_report(path: Path, reported: Iterable[ReportedMask]) -> None:
    """Write one row a report as CSV."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(REPORT_COLUMNS)
        writer.writerows((report.image, report.reason, report.detail) for report in reported)
