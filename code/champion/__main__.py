"""The shipped network again: five folds teach one student, which then learns other cameras.

    python code/champion pack         # the images and ImageNet's weights, in one folder
    python code/champion search       # which augmentation holds on a source left out
    python code/champion folds        # plain, SE and ECA networks, one a fold
    python code/champion student      # one network out of many, and a plain refit
    python code/champion refine       # the student goes on with strong augmentation
    python code/champion ship         # what lies halfway, as bundles; `make champion` does all this

    python code/champion halfway      # share of the last steps: robustness against accuracy
    python code/champion int8         # the shipped bundle in 8 bits, thresholds kept
    python code/champion all          # search, folds and student on a GPU, in --seconds

Every network is a job with files of its own under ``champion/``: what is there is not trained
again, and a job that was stopped goes on from its last checkpoint. ``--workers`` of them train side
by side. ``docs/experiments.md`` has what came of it.
"""

import argparse
from pathlib import Path

import torch

from jobs import fold_jobs, refine_jobs, search_jobs, student_jobs
from judging import compare_shares, summarise
from packed import pack
from timed import train_everything
from training import train_side_by_side

TRAININGS = {
    "search": search_jobs,
    "folds": fold_jobs,
    "student": student_jobs,
    "refine": refine_jobs,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    others = ("pack", "ship", "halfway", "int8", "all")
    parser.add_argument("step", choices=(*TRAININGS, *others))
    parser.add_argument("--folder", type=Path, default=Path("champion"))
    parser.add_argument("--root", type=Path, default=Path())
    parser.add_argument("--workers", type=int, default=8 if torch.cuda.is_available() else 2)
    parser.add_argument("--name", default="eca_lite0", help="of the shipped run")
    parser.add_argument("--seconds", type=float, default=540.0, help="that all may take")
    parser.add_argument("--results", type=Path, help="folder for what all has made, made small")
    chosen = parser.parse_args()
    folder = chosen.folder
    match chosen.step:
        case "pack":
            pack(folder, chosen.root)
        case "ship":
            from shipping import ship  # It needs onnx, which a machine that only trains may lack.

            ship(folder, chosen.root, chosen.name)
        case "halfway":
            print(compare_shares(folder).round(3).to_string(index=False))
        case "int8":
            from shipping import quantize_shipped

            quantize_shipped(chosen.root)
        case "all":
            train_everything(folder, chosen.workers, chosen.seconds, chosen.results)
        case step:
            jobs = TRAININGS[step]()
            train_side_by_side(jobs, folder, chosen.workers)
            table = summarise(folder, jobs)
            table.to_csv(folder / f"{step}.csv", index=False)
            print(table.round(3).to_string(index=False))


if __name__ == "__main__":
    main()
