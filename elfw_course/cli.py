"""`elfw`: the course's commands."""

from __future__ import annotations

import io
import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from elfw_helpers import __version__
from elfw_helpers.utils.errors import DataError, ElfwError, MissingPackage, WeightsError
from elfw_helpers.utils.files import explain_error, require_new_file, require_writable
from elfw_helpers.utils.paths import (
    MODELS_BY_NAME,
    SHIPPED,
    build_folder,
    embedded_archive,
    embedded_faces,
    project_folder,
    rendered_weights,
)

NAME_OR_FILE = f"{', '.join(SHIPPED)}, or a file"
DEFAULT_MODELS = {"segment": "efficient_unet", "attribute": "efficient_attributes"}
WEIGHTS = "The file of weights (default: data/weights/NETWORK_rendered.safetensors)."
TASKS = (
    "segment: NAME_mask.png, NAME_overlay.jpg and NAME.json with the share of each class. "
    "attribute: NAME.json with the probabilities of hair, spectacles and cap."
)
TO_TRAIN = "efficient_unet begins with ImageNet's weights, unet is small and begins with none."
PASSWORD = "Ask visitors for the name and password in $ELFW_APP_AUTH, user:password."
# Of the photos without a face that is found, at most this many are named.
MOST_NAMED = 20
UNPROTECTED = "Run them unprotected, as you: they can do all that you can."


# `elfw --help` lists the commands so; a test asks for each of them.
GROUPS = {
    "For students": "run doctor app predict check prepare render augment train export",
    "For instructors": "address grade slides",
    "For maintainers": "refresh student results store-runs tag-slides picture-apps pretrain site check-site",
}


class Finished(SystemExit):
    """Ends a command that has run, with its exit code; --help and wrong calls end with a plain SystemExit."""


class Commands(TyperGroup):
    """The commands; what one returns is its exit code, and what it raises on purpose becomes one line."""

    def invoke(self, context: typer.Context) -> None:
        """Run the command that was called, and raise Finished with its exit code."""
        try:
            code = super().invoke(context) or 0
            sys.stdout.flush()
        except ElfwError as error:
            print(f"elfw: {error}", file=sys.stderr)
            code = 1
        except ModuleNotFoundError as error:
            print(f"elfw: {explain_left_out(error)}", file=sys.stderr)
            code = 1
        except OSError as error:
            code = 1
            # Whoever read the output may have seen enough, as `head` does: nothing is wrong then.
            seen_enough = error.filename is None and output_is_gone() and isinstance(error, BrokenPipeError)
            if not seen_enough:
                print(f"elfw: {explain_error(error, 'the output')}", file=sys.stderr)
        except KeyboardInterrupt:
            print("elfw: interrupted", file=sys.stderr)
            code = 130
        raise Finished(code)

    def format_commands(self, context: typer.Context, formatter: Any) -> None:
        """List the commands by who needs them."""
        limit = formatter.width - 6 - max(map(len, self.commands))
        for title, names in GROUPS.items():
            rows = [(name, self.commands[name].get_short_help_str(limit)) for name in names.split()]
            with formatter.section(title):
                formatter.write_dl(rows)


def explain_left_out(error: ModuleNotFoundError) -> str:
    """Return how to fetch a part of the course that a sparse clone left out; raise any other error again."""
    if not (error.name or "").startswith(("elfw_helpers.", "elfw_course.")):
        raise error
    fetch = f"git -C {shlex.quote(str(project_folder()))} sparse-checkout disable"
    return f"{error.name} is not here. Fetch the rest of the course: {fetch}"


def show_version(wanted: bool) -> None:
    """Print the version and end, if that is wanted."""
    if wanted:
        print(__version__)
        raise typer.Exit


def unpack_embedded(named: Sequence[str]) -> None:
    """Unpack the course's own faces if a command names them: it may be their first use."""
    embedded = embedded_archive().with_suffix("")
    if any(Path(place).resolve().is_relative_to(embedded) for place in named):
        embedded_faces()


def require_folder(named: Path) -> Path:
    """Return the folder of faces that a command names; raise DataError if there is none.

    It is told here, before torch is loaded, which takes seconds.
    """
    # Not above: it loads NumPy, which `elfw --help` does without.
    from elfw_helpers.data.layout import find_root

    unpack_embedded([str(named)])
    find_root(named)
    return named


def require_model(named: str) -> None:
    """Raise WeightsError if a command names a model that is neither one of the course's nor a file."""
    if named not in SHIPPED and not os.path.exists(named):
        raise WeightsError(f"{named}: no such file. {MODELS_BY_NAME}")


app = typer.Typer(
    cls=Commands,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    subcommand_metavar="COMMAND ...",
    context_settings={"help_option_names": ["-h", "--help"]},
)
Version = Annotated[
    bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show the version and exit.")
]
Network = Literal["resnet18", "resnet18_attributes", "efficient_unet", "efficient_attributes", "mini_network"]
CLASSES = "A file with a line `their name = our class` for each class name that is not ours."
FORMATS = "The tool (labelme, cvat, coco) or the release (celebamask-hq, elfw, lfw-parts)."
LEAVE_OUT = "Leave out the photos with which something is wrong, and name them."
Faces = Annotated[
    Path, typer.Argument(help="In ELFW's layout, such as data/rendered_faces.", callback=require_folder)
]
Replace = Annotated[bool, typer.Option("--replace", help="Overwrite what is there.")]
NoCrop = Annotated[bool, typer.Option("--no-crop", help="Take each photo whole, as one face that fills it.")]
Seed = Annotated[int, typer.Option(help="The same seed gives the same faces.")]
NewOrBegun = Annotated[Path, typer.Option(help="A new folder, or one to go on with.")]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 something is wrong, 2 it was called wrongly.

    Raises:
        SystemExit: no command was run: the call asked for help, or was wrong.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A file's name may hold what the terminal cannot show.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        app(arguments, prog_name="elfw")
    except Finished as finished:
        return finished.code
    except OSError as error:  # while the help is printed
        print(f"elfw: {explain_error(error, 'the output')}", file=sys.stderr)
        return 1


@app.callback()
def describe_course(version: Version = False) -> None:
    """Face attributes and segmentation."""


@app.command()
def check(
    folder: Faces,
    sheet: Annotated[Path | None, typer.Option(help="Draw thirty of the faces into this file.")] = None,
) -> int:
    """Audit a folder of faces in ELFW's layout."""
    from elfw_helpers.data.audit import check_folder, describe_audit
    from elfw_helpers.data.datasets import FaceFolder

    if sheet:
        from elfw_helpers.plots.faces import require_sheet, write_sheet

        require_sheet(sheet)
    audit = check_folder(folder)
    print(describe_audit(audit))
    if audit.problems:
        if sheet:
            print(f"{sheet} was not drawn: mend the problems first", file=sys.stderr)
        return 1
    if sheet:
        write_sheet(FaceFolder(folder), sheet)
    return 0


@app.command()
def prepare(
    form: Annotated[
        Literal["labelme", "cvat", "coco", "celebamask-hq", "elfw", "lfw-parts"],
        typer.Argument(metavar="FORMAT", help=FORMATS),
    ],
    source: Annotated[Path, typer.Argument(help="Its folder or, of a tool, the .zip that it exported.")],
    out: Annotated[Path, typer.Argument(help="A new folder.")],
    classes: Annotated[Path | None, typer.Option(help=CLASSES)] = None,
    leave_out: Annotated[bool, typer.Option("--leave-out", help=LEAVE_OUT)] = False,
) -> None:
    """Turn annotated photos, or a published set of faces, into a folder in ELFW's layout (docs/data.md)."""
    from elfw_helpers.data.annotations.preparation import READERS, prepare_folder
    from elfw_helpers.data.preparation.report import describe_prepared
    from elfw_helpers.data.releases.preparation import prepare_release
    from elfw_helpers.data.releases.terms import describe_terms

    if form in READERS:
        prepared = prepare_folder(form, source, out, classes, leave_out)
    elif classes:
        raise ElfwError(f"--classes is for annotations: the classes of {form} are known (docs/data.md)")
    else:
        print(describe_terms(form), flush=True)
        prepared = prepare_release(form, source, out, leave_out)
    print(describe_prepared(prepared, out))
    print(f"Next: elfw check {out}")


@app.command()
def render(
    out: NewOrBegun,
    count: Annotated[int, typer.Option(help="Number of faces.")],
    seed: Seed = 0,
    size: Annotated[int, typer.Option(help="Side in pixels, a multiple of 8.")] = 128,
    archive: Annotated[Path | None, typer.Option(help="Also pack the faces into this zip.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Overwrite that zip.")] = False,
) -> None:
    """Render faces, with masks and labels, into a folder."""
    from elfw_helpers.rendering import render_folder
    from elfw_helpers.utils.archive import pack_folder

    if archive:
        require_new_file(archive, replace)
    with explain_bad_value("render"):
        render_folder(out, count, seed=seed, size=size)
    if archive:
        pack_folder(out, archive)


@app.command()
def augment(
    source: Faces,
    out: Annotated[Path, typer.Argument(help="A new folder, for the copies and their manifest.")],
    count: Annotated[int, typer.Option(help="Number of copies.")],
    objects: Annotated[
        str, typer.Option(help="Kinds of objects, with commas between them.")
    ] = "eyewear,mouth-mask,hand",
    seed: Seed = 0,
    no_crop: NoCrop = False,
    replace: Replace = False,
) -> None:
    """Put eyewear, mouth-masks and hands on faces, on the largest in each photo."""
    from elfw_helpers.augmentation.objects import check_kind
    from elfw_helpers.data.layout import check_augmented_folder

    kinds = objects.split(",")
    with explain_bad_value("augment"):
        for kind in kinds:
            check_kind(kind)
        check_augmented_folder(source, out, replace)
        # Now, for it loads torch, which takes seconds.
        from elfw_helpers.augmentation import augment_folder

        find_box = None if no_crop else choose_finder()
        written = augment_folder(source, out, kinds, count, seed, replace, find_box)
    made = ", ".join(f"{number} {kind}" for kind, number in written.made.items())
    print(f"{written.folder}: {sum(written.made.values())} augmented faces ({made})")
    if written.left_out:
        print(f"{written.left_out} faces can wear none of these: too little skin, or they wear one already")
    if written.not_found:
        print(f"{describe_not_found(written.not_found)}: taken whole, as one face each")


@app.command()
def pretrain(
    network: Annotated[Network, typer.Argument()] = "resnet18",
    faces: Annotated[int, typer.Option(help="How many to render.")] = 20_000,
    out: Annotated[Path | None, typer.Option(help=WEIGHTS)] = None,
    replace: Replace = False,
) -> None:
    """Train a network on rendered faces (up to an hour)."""
    work, out = require_build() / "pretraining", out or rendered_weights(network)
    require_new_file(out, replace)
    # Now, for they load torch, which takes seconds.
    from elfw_course.weights.masks import make_efficient_unet
    from elfw_course.weights.pretraining import pretrain
    from elfw_course.weights.release import make_last_layer, make_mini_network

    make = {
        "resnet18": pretrain,
        "resnet18_attributes": partial(make_last_layer, "resnet18"),
        "efficient_unet": make_efficient_unet,
        "efficient_attributes": partial(make_last_layer, "efficient_attributes"),
        "mini_network": make_mini_network,
    }
    make[network](faces, out, work, replace)


@app.command()
def train(
    faces: Faces,
    out: Annotated[Path, typer.Option(help="A new folder, or with --resume that of a run.")],
    task: Annotated[Literal["segment"], typer.Option(help="segment: the class of each pixel.")] = "segment",
    model: Annotated[Literal["efficient_unet", "unet"], typer.Option(help=TO_TRAIN)] = "efficient_unet",
    epochs: Annotated[int, typer.Option(help="Passes over the training faces.")] = 10,
    batch_size: Annotated[int, typer.Option(help="Faces per step, of all processes together.")] = 32,
    size: Annotated[int, typer.Option(help="Side of the faces in pixels, a multiple of 32.")] = 64,
    resume: Annotated[bool, typer.Option("--resume", help="Go on after the last finished epoch.")] = False,
) -> None:
    """Train a network on a folder of faces with masks.

    In one process, or in many on several GPUs or machines: torchrun starts them (docs/cluster.md).
    """
    from elfw_helpers.utils.files import check_run_folder

    # Of many processes, one may find here what another has just written: there, the first alone looks, later.
    if "WORLD_SIZE" not in os.environ:
        check_run_folder(out, resume)
    # Not before, for it loads torch, which takes seconds.
    from elfw_helpers.training.folder import train_folder

    trained = train_folder(faces, out, model, epochs, batch_size, size, resume)
    if trained:
        print(trained.describe())
        print(f"Next: elfw predict PHOTO --out MASKS --model {shlex.quote(str(trained.file))}")


@app.command()
def predict(
    photos: Annotated[list[str], typer.Argument(help="Photos, or folders of photos.")],
    out: Annotated[Path, typer.Option(help="The folder to write into.")],
    task: Annotated[Literal["segment", "attribute"], typer.Option(help=TASKS)] = "segment",
    model: Annotated[str, typer.Option(help=f"{NAME_OR_FILE} (default: by the task).")] = "",
    no_crop: NoCrop = False,
    replace: Replace = False,
) -> int:
    """Write masks, overlays or attributes of photos.

    The faces in each photo are found, cut out as in ELFW, and answered, the largest first; masks are laid
    back over the whole photo. The exit code is 1 when some photos failed.
    """
    from elfw_helpers.deployment.listing import require_photos, require_place

    model = model or DEFAULT_MODELS[task]
    try:
        require_model(model)
        # Not as a callback of the argument: on Python 3.10, typer takes none whose argument is a list.
        unpack_embedded(photos)
        listing = require_photos(photos)
        require_place(out, listing.photos)
        # Now, for they load torch, which takes seconds.
        from elfw_helpers.deployment.files import predict_to_files
        from elfw_helpers.models.hub import load_model
        from elfw_helpers.utils.device import best_device

        loaded = load_model(model, best_device())
        loaded.check_task(task)
        return predict_to_files(loaded, listing, out, replace, crop=not no_crop)
    except ElfwError as error:
        print(f"elfw predict: {error}", file=sys.stderr)
        return 2


@app.command("app")
def serve(
    name: Annotated[
        Literal["attributes", "segmentation"] | None,
        typer.Argument(metavar="APP", help="attributes or segmentation (default: both, in tabs)."),
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="(default: the first free one from 7860 on)")
    ] = None,
    host: Annotated[str, typer.Option(help="0.0.0.0 lets other machines in.")] = "127.0.0.1",
    share: Annotated[bool, typer.Option("--share", help="A public address, by Gradio's servers.")] = False,
    auth: Annotated[bool, typer.Option("--auth", help=PASSWORD)] = False,
) -> None:
    """Serve the apps in the browser.

    Only this machine can open them unless told otherwise. What visitors send is deleted after the answer.
    """
    from elfw_helpers.deployment.exposure import describe_exposure, read_password

    password = read_password() if auth else None
    for line in describe_exposure(host, share, bool(password)):
        print(line)
    print("Starting; the first time this takes up to a minute.", flush=True)
    # Now, for they load torch and Gradio, which takes seconds.
    import torch

    from elfw_helpers.deployment.apps.serve import APPS, start_app

    # The networks are small: on a busy machine a second thread costs more than it brings.
    torch.set_num_threads(1)
    # A service manager ends programs so: what was uploaded is deleted then too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with start_app((name,) if name else APPS, None, host, port, share, password) as running:
        print(f"Open {running.url} in a browser; Ctrl-C stops the app.", flush=True)
        if running.blocks.share_url:
            print(f"Public address: {running.blocks.share_url}", flush=True)
        running.wait()


@app.command()
def export(
    model: Annotated[str, typer.Argument(help=f"{NAME_OR_FILE}.")],
    file: Annotated[Path, typer.Argument(metavar="OUT.onnx")],
    replace: Replace = False,
) -> None:
    """Write a trained model as ONNX, to run without PyTorch."""
    require_model(model)
    require_new_file(file, replace)
    # Now, for they load torch, which takes seconds.
    from elfw_helpers.deployment.onnx import export_model
    from elfw_helpers.models.hub import load_model

    difference = export_model(load_model(model), file, replace)
    print(f"{file}: logits as PyTorch's, within {difference:.1g}")


@app.command()
def run(
    notebooks: Annotated[list[str], typer.Argument(help="Such as 02_transfer_learning (default: all).")] = (),
) -> int:
    """Execute the notebooks into build/ (make run)."""
    from elfw_course.student import find_notebooks

    # What is wrong with the call is told before torch is loaded, which takes seconds.
    find_notebooks(notebooks)
    require_build()
    from elfw_course.run import run_course

    return run_course(notebooks)


@app.command()
def refresh() -> int:
    """Execute the committed notebooks in place (make refresh)."""
    for name in ("", "notebooks", "figures"):
        require_writable(project_folder() / name)
    from elfw_course.run import refresh_course

    return refresh_course()


@app.command()
def student() -> None:
    """Write notebooks/student/, the notebooks without solutions.

    First, the address in pyproject.toml is written into the badges and setup cells of all notebooks.
    """
    from elfw_course.student import write_address, write_student_copies

    write_address(project_folder())
    write_student_copies(project_folder() / "notebooks")


@app.command()
def address(
    url: Annotated[str, typer.Argument(metavar="URL", help="https://github.com/OWNER/NAME")],
) -> None:
    """Give the course an address: pyproject.toml, badges, setup cells, README, CITATION.cff."""
    from elfw_course.student import change_address, read_repository

    change_address(project_folder(), url)
    print(f"The course's address is https://github.com/{read_repository(project_folder())}")
    print("Commit and push it: git commit --all --message 'Our address' && git push")


@app.command()
def doctor() -> int:
    """Say whether the course will run here, and what mends each lack; exit code 0 if it will."""
    from elfw_course.doctor import examine

    return examine()


@app.command()
def site() -> None:
    """Build the course's web site into build/site (make site)."""
    build = require_build()
    from elfw_course.site.build import build_site

    print(f"Open {build_site(project_folder(), build / 'site')} in a browser.")


@app.command("check-site")
def check_site() -> int:
    """Open each page of build/site in a browser, and list what is wrong (make check-site)."""
    build = require_build()
    from elfw_course.site.check import check_site, describe_findings

    findings = check_site(build / "site")
    print(describe_findings(findings))
    return 1 if findings.faults else 0


@app.command()
def slides(
    notebooks: Annotated[list[str], typer.Argument(help="Such as 03 (default: all).")] = (),
) -> None:
    """Write slides of notebooks into build/slides (make slides)."""
    from elfw_course.student import find_notebooks

    paths, build = find_notebooks(notebooks), require_build()
    from elfw_course.slides import write_slides

    for path in paths:
        print(write_slides(path, build / "slides"), flush=True)


@app.command("tag-slides")
def tag_slides() -> None:
    """Give each cell that has no place in the slides yet one, by its kind; the rest stay as they are."""
    from elfw_course.slides import tag_cells
    from elfw_course.student import find_notebooks

    for path in find_notebooks([]):
        print(f"{path.name}: {tag_cells(path)} cells tagged")


@app.command()
def grade(
    key: Annotated[str, typer.Argument(help="A notebook's number, such as 03, or an answer key.")],
    submissions: Annotated[Path, typer.Argument(help="Folder of .ipynb files.")],
    out: NewOrBegun,
    jobs: Annotated[
        int | None, typer.Option(help="Submissions at a time on this machine.  [default: 1]")
    ] = None,
    cluster: Annotated[
        str | None, typer.Option(help="Dask scheduler whose workers run them (tcp://HOST:8786).")
    ] = None,
    unsandboxed: Annotated[bool, typer.Option("--unsandboxed", help=UNPROTECTED)] = False,
) -> int:
    """Grade a folder of submitted notebooks (grading/README.md)."""
    if not sys.platform.startswith("linux"):
        raise ElfwError("grading needs Linux, whose sandbox it uses. On Windows: WSL, or a virtual machine")
    from elfw_course.grading.batch import grade_folder

    return grade_folder(key, submissions, out, jobs, unsandboxed, cluster)


@app.command()
def results() -> None:
    """Write the tables of results (README) and speed (benchmarks/README), and each notebook's minutes."""
    from elfw_course.results import write_results

    write_results(project_folder())


@app.command("store-runs")
def store_runs() -> None:
    """Store the runs of notebook 04 that 05 loads when it is opened alone (data/runs/).

    They are trained anew where build/ lacks them, about a minute.
    """
    build = require_build()
    from elfw_course.shipped_runs import write_shipped_runs

    print(write_shipped_runs(build))


@app.command("picture-apps")
def picture_apps() -> None:
    """Draw figures/app_*.png: both apps in a browser without a screen."""
    figures = project_folder() / "figures"
    require_writable(figures)
    from elfw_course.app_pictures import picture_apps as write_pictures

    for file in write_pictures(figures):
        print(file)


@contextmanager
def explain_bad_value(command: str) -> Iterator[None]:
    """Explain a ValueError, such as a count of 0, and end with exit code 2."""
    try:
        yield
    except ValueError as error:
        if isinstance(error, ElfwError):
            raise
        print(f"elfw {command}: {error}", file=sys.stderr)
        raise Finished(2) from None


def describe_not_found(names: Sequence[str]) -> str:
    """Return in how many photos no face was found, with the names of the first."""
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f"no face was found in {len(names)} of the photos ({', '.join(names[:MOST_NAMED])}{more})"


def choose_finder() -> Callable | None:
    """Return what finds the largest face in a photo; None, and say so, where its package is missing."""
    from elfw_helpers.deployment.faces import find_box, load_detector

    try:
        load_detector()
    except MissingPackage as error:
        print(f"elfw: faces are not looked for, each photo is taken for one ({error})", file=sys.stderr)
        return None
    return find_box


def require_build() -> Path:
    """Return the build folder, after proof that it can be written into; raise ElfwError otherwise."""
    try:
        folder = build_folder()
        require_writable(folder)
    except (OSError, DataError) as error:
        explained = explain_error(error) if isinstance(error, OSError) else error
        raise ElfwError(f"{explained}, by $ELFW_BUILD") from None
    return folder


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
