"""The networks that are trained, and what each sees, learns from and goes on from."""

from dataclasses import dataclass, replace

from doctor_derma.training.config import TrainConfig
from packed import BACKBONE, FOLDS

MILD = TrainConfig(zoom=1.3, zoom_out=0.6, aspect=1.2, colour=0.2, cast=0.05, noise=0.1, cutout=0.3)
STRONG = TrainConfig(
    **{"zoom": 1.5, "zoom_out": 0.6, "aspect": 1.25, "colour": 0.4, "cast": 0.25, "gamma": 1.5},
    **{"vignette": 0.25, "hair": 0.25, "ruler": 0.15, "bubbles": 0.1, "blur": 0.25},
    **{"noise": 0.2, "jpeg": 0.2, "cutout": 0.2},
)
RECIPES = {"mild": MILD, "strong": STRONG}
ATTENTIONS = ("", "se_", "eca_")
SOURCES = ("rosendahl", "vidir_modern", "vidir_molemax")
STUDENT_FOLDS = 2  # How many students also leave a fold out, to say how sure students are.


@dataclass(frozen=True)
class Job:
    """One network to train.

    Attributes
    ----------
    name : of its files
    model : the network, see ``create_network``
    recipe : of ``RECIPES``
    images : how many images training shows, all repetitions counted
    left_out : what it never sees, see ``PackedImages.known``
    teachers : whether it learns from the fold networks as well
    frozen : whether stem and first three stages stay as they are
    start : job whose weights it goes on from; ImageNet's when empty
    """

    name: str
    model: str
    recipe: str
    images: int
    left_out: str = ""
    teachers: bool = False
    frozen: bool = False
    start: str = ""
    batch: int = 128
    learning_rate: float = 1e-3
    ema_decay: float = 0.995
    seed: int = 0


def search_jobs(images: int = 50_000) -> list[Job]:
    """Each augmentation, trained without one of the three large sources."""
    return [
        Job(
            f"search-{recipe}-{source}",
            f"eca_{BACKBONE}",
            recipe,
            images,
            left_out=f"source:{source}",
        )
        for source in SOURCES
        for recipe in RECIPES
    ]


def fold_jobs(images: int = 30_000, recipe: str = "mild") -> list[Job]:
    """Plain, SE and ECA networks, one a fold."""
    return [
        Job(fold_name(attention, fold), f"{attention}{BACKBONE}", recipe, images, f"fold:{fold}")
        for fold in range(FOLDS)
        for attention in ATTENTIONS
    ]


def fold_name(attention: str, fold: int) -> str:
    """Name the network of an attention that has not seen a fold."""
    return f"{attention}fold{fold}"


def student_jobs(images: int = 95_000, recipe: str = "mild") -> list[Job]:
    """The student, the same without teachers, and one a fold that says how sure students are."""
    student = Job("student", f"eca_{BACKBONE}", recipe, images, teachers=True)
    return [
        student,
        replace(student, name="refit", teachers=False, images=images // 2),
        *(
            replace(
                student,
                name=f"student-fold{fold}",
                images=round(0.7 * images),
                left_out=f"fold:{fold}",
            )
            for fold in range(STUDENT_FOLDS)
        ),
    ]


def refine_jobs(images: int = 84_000) -> list[Job]:
    """The student goes on in small steps, and so does its twin without a fold.

    Stem and first three stages stay as they are, which is twice as fast on a processor.
    """
    last = Job(
        "champion",
        f"eca_{BACKBONE}",
        "strong",
        images,
        frozen=True,
        start="student",
        batch=32,
        learning_rate=4e-4,
        ema_decay=0.998,
    )
    return [
        last,
        replace(last, name="champion-fold0", left_out="fold:0", start="student-fold0"),
    ]
