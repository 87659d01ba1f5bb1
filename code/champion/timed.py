"""Search, folds and student on a GPU, each as long as the time allows."""

import time
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors.torch import load_file, save_file

from jobs import Job, fold_jobs, search_jobs, student_jobs
from judging import summarise
from packed import decode_once
from training import train_side_by_side


def train_everything(folder: Path, workers: int, seconds: float, results: Path | None) -> None:
    """Train search, folds and student one after the other, in so many seconds.

    The augmentation of folds and student is the one that is best on the sources left out. What
    came of it is put into ``results``.
    """
    deadline = time.monotonic() + seconds
    decode_once(folder)  # Before the first stage, whose rate it would lower.

    def stage(name: str, jobs: list[Job]) -> tuple[pd.DataFrame, float]:
        began = time.monotonic()
        train_side_by_side(jobs, folder, workers)
        table = summarise(folder, jobs)
        table.to_csv(folder / f"{name}.csv", index=False)
        print(table.round(3).to_string(index=False), flush=True)
        rate = sum(job.images for job in jobs) / (time.monotonic() - began)
        left = deadline - time.monotonic()
        print(f"{name}: {rate:.0f} images/s, {left:.0f} s left", flush=True)
        if results:
            collect(folder, results)
        return table, rate

    table, rate = stage("search", search_jobs())
    table["kind"] = table["job"].str.split("-").str[1]
    recipe = str(table.groupby("kind")["balanced_accuracy"].mean().idxmax())
    print(f"recipe: {recipe}", flush=True)
    budget = 0.5 * rate * (deadline - time.monotonic())
    _, rate = stage("folds", fold_jobs(int(np.clip(budget / 15, 30_000, 130_000)), recipe))
    # A step of a student costs 1.6 of another network's, as three teachers look at its images.
    budget = 0.8 * rate * (deadline - time.monotonic() - 15)
    stage("student", student_jobs(int(np.clip(budget / 4.3, 30_000, 500_000)), recipe))


def collect(folder: Path, results: Path) -> None:
    """Copy results to where they are sent from, with most weights in half precision."""
    results.mkdir(parents=True, exist_ok=True)
    logits = {path.stem: np.load(path) for path in sorted(folder.glob("*.npz"))}
    np.savez_compressed(
        results / "logits.npz",
        **{f"{name}:logits": found["logits"].astype(np.float16) for name, found in logits.items()},
        **{
            f"{name}:trained_on": np.packbits(found["trained_on"]) for name, found in logits.items()
        },
        **{f"{name}:seconds": found["seconds"] for name, found in logits.items()},
    )
    for path in folder.glob("*.csv"):
        if path.stem in ("search", "folds", "student"):
            (results / path.name).write_bytes(path.read_bytes())
    student = folder / "student.safetensors"
    if student.is_file():
        (results / student.name).write_bytes(student.read_bytes())
    wanted = {
        "sources": ["search-strong-rosendahl", "search-mild-rosendahl"],
        "others": ["refit", "student-fold0"],
    }
    for archive, names in wanted.items():
        files = [folder / f"{name}.safetensors" for name in names]
        weights = {
            f"{path.stem}:{name}": value.half() if value.is_floating_point() else value
            for path in files
            if path.is_file()
            for name, value in load_file(path).items()
        }
        if weights:
            save_file(weights, results / f"{archive}.safetensors")
