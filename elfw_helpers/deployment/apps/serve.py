"""Start the apps, from a terminal or a notebook: for this machine alone unless asked otherwise."""

from __future__ import annotations

import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path

import gradio
from starlette.middleware import Middleware

from elfw_helpers.deployment.apps.uploads import LARGEST_FILE, PrivateFolder, RequestGuard, say_busy
from elfw_helpers.deployment.apps.web_page import build_app
from elfw_helpers.deployment.exposure import LOCAL_HOST
from elfw_helpers.deployment.onnx import use_onnxruntime
from elfw_helpers.models.hub import TrainedModel, load_model
from elfw_helpers.utils.errors import ElfwError

# The models that each of the apps needs.
MODELS = {"attributes": ("efficient_attributes", "mini_network"), "segmentation": ("efficient_unet",)}
APPS = tuple(MODELS)
# One photo is predicted at a time, and up to this many wait; other visitors are told to try again.
QUEUE_LENGTH = 64
LAUNCH_OPTIONS = {
    "max_file_size": LARGEST_FILE,
    "css_paths": Path(__file__).with_name("style.css"),
    "footer_links": ["api"],
    "prevent_thread_lock": True,
    "inline": False,
    "quiet": True,
    "show_error": False,
    # It would keep visitors' photos in their browser.
    "run_history": False,
    "enable_monitoring": False,
    "ssr_mode": False,
    "pwa": False,
    "mcp_server": False,
}


@dataclass
class RunningApp:
    """An app that answers until it is closed; also a context manager."""

    blocks: gradio.Blocks
    # The folder for uploads.
    private: PrivateFolder
    display: object = field(default=None, repr=False)

    @property
    def url(self) -> str:
        """Its address on this machine."""
        return self.blocks.local_url

    def show(self, height: int = 700) -> None:
        """Show the app in a notebook, until it is closed."""
        if "google.colab" in sys.modules:
            from google.colab import output

            output.serve_kernel_port_as_iframe(self.blocks.server_port, height=str(height))
        else:
            from IPython.display import IFrame, display

            self.display = display(IFrame(self.url, "100%", height), display_id=True)

    def close(self) -> None:
        """Stop answering, and delete what was uploaded; once is enough, twice does no harm."""
        self.blocks.close(verbose=False)
        self.private.delete()
        if self.display:
            # A stored notebook would go on showing an address that no longer answers.
            self.display.update({"text/plain": "The app was shown here until it was closed."}, raw=True)

    def __enter__(self) -> RunningApp:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def wait(self) -> None:
        """Answer until Ctrl-C."""
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            print("\nStopped.")


def start_app(
    apps: tuple[str, ...] = APPS,
    models: dict[str, TrainedModel] | None = None,
    host: str = LOCAL_HOST,
    port: int | None = None,
    share: bool = False,
    auth: tuple[str, str] | None = None,
) -> RunningApp:
    """Start the apps, and return once they answer.

    Args:
        apps: "attributes", "segmentation" or both.
        models: by name, those that MODELS lists for the apps; by default the course's own, computed by
            onnxruntime where it is installed.
        host: address to listen at; anything but the default lets other machines in.
        port: to listen at; by default the first free one from 7860 on.
        share: ask Gradio for a public address.
        auth: the name and the password that visitors have to give.

    Raises:
        WeightsError: a model is missing or damaged.
        ElfwError: the port is taken, or there is no public address to be had.
    """
    if models is None:
        names = [name for app in apps for name in MODELS[app]]
        models = {name: use_onnxruntime(load_model(name)) for name in names}
    private = PrivateFolder()
    blocks = build_app(apps, models).queue(max_size=QUEUE_LENGTH, default_concurrency_limit=1)
    running = RunningApp(blocks, private)
    # A new dictionary for each start: Gradio changes it.
    server = {"middleware": [Middleware(RequestGuard)], "exception_handlers": {503: say_busy}}
    address = {"server_name": host, "server_port": port, "share": share, "auth": auth}
    try:
        blocks.launch(**address, **LAUNCH_OPTIONS, theme=make_theme(), app_kwargs=server)
        if share and not blocks.share_url:
            advice = "check the connection, or leave --share out"
            raise ElfwError(f"There is no public address to be had: {advice}")
    except OSError as error:
        running.close()
        found = f"The app cannot listen at {host}, port {port or 7860} ({error})"
        raise ElfwError(f"{found}. Try --port") from error
    except BaseException:
        running.close()
        raise
    return running


def make_theme() -> gradio.themes.Base:
    """Return the look of the page, in fonts that every system has."""
    fonts = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}
    theme = gradio.themes.Base(primary_hue="teal", neutral_hue="slate", radius_size="lg", **fonts)
    return theme.set(body_background_fill="*neutral_50", block_background_fill="white")
