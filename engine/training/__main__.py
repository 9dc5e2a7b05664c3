"""Trains, measures and shows the shipped pipelines: `python -m engine.training shapes | motion | score | gallery`."""

import argparse
import os
from pathlib import Path

# Before torch is imported: waiting threads that spin slow everything else on the machine down.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

MODELS = Path(__file__).resolve().parents[1] / "models"


def main() -> None:
    arguments = _arguments()
    import torch

    torch.set_num_threads(arguments.threads)
    {"shapes": _shapes, "motion": _motion, "score": _score, "gallery": _gallery}[arguments.command](arguments)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m engine.training", description=__doc__)
    parser.add_argument("command", choices=("shapes", "motion", "score", "gallery"))
    parser.add_argument("--work", type=Path, default=Path("build/training"), help="checkpoints, to go on from")
    parser.add_argument("--models", type=Path, default=MODELS, help="where the pipeline folders are")
    parser.add_argument("--images", type=Path, default=Path("docs/images"), help="where contact sheets go")
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def _shapes(arguments: argparse.Namespace) -> None:
    from engine.training import folder, shapes

    base = shapes.foundations(arguments.work)
    folder.write(shapes.train(base, arguments.work), arguments.models / "shapes")


def _motion(arguments: argparse.Namespace) -> None:
    from engine.training import folder, motion, shapes

    base = shapes.foundations(arguments.work)
    folder.write(motion.train(base, arguments.work), arguments.models / "motion")


def _score(arguments: argparse.Namespace) -> None:
    from engine.training import exam, folder

    print(exam.report(exam.judge_pictures(folder.read(arguments.models / "shapes"), exam.picture_cases())))
    print(exam.report(exam.judge_clips(folder.read(arguments.models / "motion"), exam.clip_cases())))


def _gallery(arguments: argparse.Namespace) -> None:
    from engine.training import folder, gallery

    gallery.shapes_sheet(folder.read(arguments.models / "shapes"), arguments.images / "shapes.png")
    gallery.motion_sheet(folder.read(arguments.models / "motion"), arguments.images / "motion.png")


if __name__ == "__main__":
    main()
