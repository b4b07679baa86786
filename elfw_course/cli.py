"""`elfw`: the course's commands."""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from elfw_helpers import __version__
from elfw_helpers.utils.errors import DataError, ElfwError
from elfw_helpers.utils.files import explain_error, require_writable, require_writable_file
from elfw_helpers.utils.paths import build_folder, project_folder, rendered_weights

DEFAULT_MODELS = {"segment": "unet", "attribute": "mini_network"}


def check(arguments: argparse.Namespace) -> int:
    """Audit a folder, and draw a contact sheet if asked; exit code 1 when something is wrong with it."""
    from elfw_helpers.data.audit import check_folder, describe
    from elfw_helpers.data.datasets import FaceFolder

    if arguments.sheet:
        from elfw_helpers.plots.faces import require_sheet, write_sheet

        require_sheet(arguments.sheet)
    audit = check_folder(arguments.folder)
    print(describe(audit))
    if audit.problems:
        if arguments.sheet:
            print(f"{arguments.sheet} was not drawn: mend the problems first", file=sys.stderr)
        return 1
    if arguments.sheet:
        write_sheet(FaceFolder(arguments.folder), arguments.sheet)
    return 0


def render(arguments: argparse.Namespace) -> int:
    """Render a set of faces into a folder in ELFW's layout; exit code 2 for a number that makes no sense."""
    from elfw_helpers.rendering import render_folder

    try:
        render_folder(arguments.out, arguments.count, seed=arguments.seed, size=arguments.size)
    except ValueError as error:
        if isinstance(error, ElfwError):
            raise
        print(f"elfw render: {error}", file=sys.stderr)
        return 2
    return 0


def augment(arguments: argparse.Namespace) -> int:
    """Write faces with objects put on into a folder; exit code 2 for what makes no sense."""
    from elfw_helpers.augmentation import OBJECTS, augment_folder

    kinds = arguments.objects.split(",") if arguments.objects else OBJECTS
    try:
        written = augment_folder(
            arguments.source, arguments.out, kinds, arguments.count, arguments.seed, arguments.replace
        )
    except ValueError as error:
        if isinstance(error, ElfwError):
            raise
        print(f"elfw augment: {error}", file=sys.stderr)
        return 2
    made = ", ".join(f"{number} {kind}" for kind, number in written.made.items())
    print(f"{written.folder}: {sum(written.made.values())} augmented faces ({made})")
    if written.left_out:
        print(f"{written.left_out} faces can wear none of these: too little skin, or they wear one already")
    return 0


def pretrain(arguments: argparse.Namespace) -> int:
    """Train a network on rendered faces, and store its weights."""
    from elfw_course.weights.pretraining import pretrain
    from elfw_course.weights.release import make_head, make_shipped

    network, work = arguments.network, require_build() / "pretraining"
    out = arguments.out or rendered_weights(network)
    require_writable_file(out)
    if network == "resnet18":
        pretrain(arguments.faces, out, work, arguments.replace)
    elif network == "resnet18_attributes":
        make_head(arguments.faces, out, work, arguments.replace)
    else:
        make_shipped(network, arguments.faces, out, work, arguments.replace)
    return 0


def predict(arguments: argparse.Namespace) -> int:
    """Write what a trained model says of photos; exit code 1 when some failed, 2 when none could be begun."""
    from elfw_helpers.deployment.files import predict_into
    from elfw_helpers.models.hub import load_model
    from elfw_helpers.utils.device import best_device

    try:
        model = load_model(arguments.model or DEFAULT_MODELS[arguments.task], best_device())
        model.check_task(arguments.task)
        return predict_into(model, arguments.photos, arguments.out, arguments.replace)
    except ElfwError as error:
        print(f"elfw predict: {error}", file=sys.stderr)
        return 2


def app(arguments: argparse.Namespace) -> int:
    """Serve the apps until Ctrl-C; exit code 1 when they cannot be started."""
    import torch

    from elfw_helpers.deployment.apps.serve import APPS, describe_exposure, read_password, start_app

    # The networks are small: on a busy machine a second thread costs more than it brings.
    torch.set_num_threads(1)
    apps = (arguments.app,) if arguments.app else APPS
    auth = read_password() if arguments.auth else None
    for line in describe_exposure(arguments.host, arguments.share, bool(auth)):
        print(line)
    print("Starting; the first time this takes up to a minute.", flush=True)
    # A service manager ends programs so: what was uploaded is deleted then too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with start_app(apps, None, arguments.host, arguments.port, arguments.share, auth) as running:
        print(f"Open {running.url} in a browser; Ctrl-C stops the app.", flush=True)
        if running.blocks.share_url:
            print(f"Public address: {running.blocks.share_url}", flush=True)
        running.wait()
    return 0


def export(arguments: argparse.Namespace) -> int:
    """Write a trained model as ONNX."""
    from elfw_helpers.deployment.onnx import export_model
    from elfw_helpers.models.hub import load_model

    difference = export_model(load_model(arguments.model), arguments.file, arguments.replace)
    print(f"{arguments.file}: logits as PyTorch's, within {difference:.1g}")
    return 0


def run(arguments: argparse.Namespace) -> int:
    """Execute notebooks into the build folder."""
    from elfw_course.run import run_course

    require_build()
    return run_course(arguments.notebooks)


def refresh(arguments: argparse.Namespace) -> int:
    """Execute the committed notebooks in place."""
    from elfw_course.run import refresh_course

    for name in ("", "notebooks", "figures"):
        require_writable(project_folder() / name)
    return refresh_course()


def student(arguments: argparse.Namespace) -> int:
    """Write the student's copies of the notebooks."""
    from elfw_course.student import write_student_copies

    write_student_copies(project_folder() / "notebooks")
    return 0


def stamp(arguments: argparse.Namespace) -> int:
    """Write the repository's address wherever the course names it."""
    from elfw_course.address import stamp_course

    stamp_course(arguments.address, project_folder())
    return 0


def results(arguments: argparse.Namespace) -> int:
    """Write README's table of results."""
    from elfw_course.results import write_results

    write_results(project_folder())
    return 0


def grade(arguments: argparse.Namespace) -> int:
    """Grade a folder of submitted notebooks; exit code 1 when the grader failed on some."""
    if not sys.platform.startswith("linux"):
        raise ElfwError("grading needs Linux, whose sandbox it uses. On Windows: WSL, or a virtual machine")
    from elfw_course.grading.batch import grade_folder

    return grade_folder(
        arguments.key, arguments.submissions, arguments.out, arguments.jobs, arguments.unsandboxed
    )


def require_build() -> Path:
    """Return the build folder, after proof that it can be written into; raise ElfwError otherwise."""
    try:
        folder = build_folder()
        require_writable(folder)
    except (OSError, DataError) as error:
        explained = explain_error(error) if isinstance(error, OSError) else error
        raise ElfwError(f"{explained}, by $ELFW_BUILD") from None
    return folder


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(prog="elfw", description="Face attributes and segmentation.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("check", help="audit a folder of faces in ELFW's layout")
    command.add_argument("folder", type=Path)
    command.add_argument("--sheet", type=Path, help="draw thirty of the faces into this file")
    command.set_defaults(function=check)

    command = commands.add_parser("render", help="render faces, with masks and labels, into a folder")
    command.add_argument("--out", type=Path, required=True, help="a new folder, or one to go on with")
    command.add_argument("--count", type=int, required=True, help="number of faces")
    command.add_argument("--seed", type=int, default=0, help="same seed, same faces (default 0)")
    command.add_argument("--size", type=int, default=128, help="pixels a side, a multiple of 8 (default 128)")
    command.set_defaults(function=render)

    command = commands.add_parser("augment", help="put eyewear, mouth-masks and hands on faces")
    command.add_argument("source", type=Path, help="a folder of faces with masks, in ELFW's layout")
    command.add_argument("out", type=Path, help="a new folder, for the copies and their manifest")
    command.add_argument("--objects", help="some of eyewear,mouth-mask,hand (default all three)")
    command.add_argument("--count", type=int, required=True, help="number of copies")
    command.add_argument("--seed", type=int, default=0, help="same seed, same copies (default 0)")
    command.add_argument("--replace", action="store_true", help="overwrite augmented faces that are there")
    command.set_defaults(function=augment)

    command = commands.add_parser("pretrain", help="train a network on rendered faces (up to an hour)")
    networks = ("resnet18", "resnet18_attributes", "unet", "mini_network")
    command.add_argument(
        "network", nargs="?", choices=networks, default="resnet18", help="(default resnet18)"
    )
    command.add_argument("--faces", type=int, default=20_000, help="how many to render (default 20000)")
    command.add_argument(
        "--out", type=Path, help="the weights (default data/weights/NETWORK_rendered.safetensors)"
    )
    command.add_argument("--replace", action="store_true", help="overwrite the weights that are there")
    command.set_defaults(function=pretrain)

    command = commands.add_parser(
        "predict",
        help="masks, overlays or attributes of photos",
        description="Predict photos of faces with a trained model. Expected are faces as in ELFW: one face, "
        "roughly centred and filling the picture. There is no face detector: cut small faces out first.",
    )
    command.add_argument("photos", nargs="+", metavar="PHOTO", help="a photo, or a folder of photos")
    command.add_argument(
        "--task",
        choices=DEFAULT_MODELS,
        default="segment",
        help="segment: NAME_mask.png, NAME_overlay.jpg and NAME.json with the share of each class (default); "
        "attribute: NAME.json with the probabilities of hair, spectacles and cap",
    )
    command.add_argument("--out", type=Path, required=True, help="the folder to write into")
    command.add_argument(
        "--model", metavar="NAME_OR_FILE", help="unet, mini_network, or a file (default: by the task)"
    )
    command.add_argument("--replace", action="store_true", help="overwrite outputs that are there")
    command.set_defaults(function=predict)

    command = commands.add_parser(
        "app",
        help="the apps, in the browser",
        description="Serve the apps, on this machine alone unless told otherwise. What visitors send is "
        "deleted once it is answered.",
    )
    command.add_argument(
        "app", nargs="?", choices=("attributes", "segmentation"), help="one of them (default: both, in tabs)"
    )
    command.add_argument("--port", type=int, help="(default: the first free one from 7860 on)")
    command.add_argument(
        "--host", default="127.0.0.1", help="0.0.0.0 lets other machines in (default 127.0.0.1)"
    )
    command.add_argument("--share", action="store_true", help="a public address, through Gradio's servers")
    command.add_argument(
        "--auth",
        action="store_true",
        help="ask visitors for the name and password in $ELFW_APP_AUTH, user:password",
    )
    command.set_defaults(function=app)

    command = commands.add_parser("export", help="a trained model as ONNX, to run without PyTorch")
    command.add_argument("model", metavar="MODEL", help="unet, mini_network, resnet18, or a file of a model")
    command.add_argument("file", metavar="OUT.onnx", type=Path)
    command.add_argument("--replace", action="store_true", help="overwrite the file if it is there")
    command.set_defaults(function=export)

    command = commands.add_parser("run", help="execute the notebooks into build/ (make run)")
    command.add_argument("notebooks", nargs="*", help="such as 02_transfer_learning; all when none is named")
    command.set_defaults(function=run)

    command = commands.add_parser("refresh", help="execute the committed notebooks in place (make refresh)")
    command.set_defaults(function=refresh)

    command = commands.add_parser("student", help="write notebooks/student/, the notebooks without solutions")
    command.set_defaults(function=student)

    command = commands.add_parser("grade", help="grade a folder of submitted notebooks (grading/README.md)")
    command.add_argument("key", metavar="KEY", help="a notebook's number, such as 03, or an answer key")
    command.add_argument("submissions", metavar="SUBMISSIONS", type=Path, help="folder of .ipynb files")
    command.add_argument("--out", type=Path, required=True, help="a new folder, or one to go on with")
    command.add_argument("--jobs", type=int, default=1, help="submissions at a time (default 1)")
    command.add_argument(
        "--unsandboxed",
        action="store_true",
        help="run them unprotected, as you: they can do all that you can",
    )
    command.set_defaults(function=grade)

    command = commands.add_parser("results", help="write README's table of results from stored metrics")
    command.set_defaults(function=results)

    command = commands.add_parser("stamp", help="write the repository's address wherever the course names it")
    command.add_argument("address", metavar="URL", help="https://github.com/OWNER/NAME")
    command.set_defaults(function=stamp)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 something is wrong, 2 it was called wrongly."""
    parsed = make_parser().parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A file's name may hold what the terminal cannot show.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = parsed.function(parsed)
        sys.stdout.flush()
        return code
    except ElfwError as error:
        print(f"elfw: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        return report_refusal(error)
    except KeyboardInterrupt:
        print("elfw: interrupted", file=sys.stderr)
        return 130


def report_refusal(error: OSError) -> int:
    """Say in a line what the operating system refused, and return the exit code."""
    # Whoever read the output may have seen enough, as `head` does: nothing is wrong then.
    if not (error.filename is None and output_is_gone() and isinstance(error, BrokenPipeError)):
        print(f"elfw: {explain_error(error, 'the output')}", file=sys.stderr)
    return 1


def output_is_gone() -> bool:
    """Say whether nothing more can be printed; if so, what is still to be printed goes nowhere."""
    try:
        # Another attempt is the only way to know: what failed before may no longer be waiting.
        print(flush=True)
    except OSError:
        # Python would try once more at its end, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False


if __name__ == "__main__":
    sys.exit(main())
