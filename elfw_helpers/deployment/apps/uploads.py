"""Photos that visitors upload: each is kept in its own private folder, and deleted after its answer."""

from __future__ import annotations

import asyncio
import atexit
import os
import secrets
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import gradio
from gradio import routes
from gradio.data_classes import ImageData
from starlette.requests import Request
from starlette.responses import JSONResponse

from elfw_helpers.data.images import IMAGE_SUFFIXES

# The variable by which Gradio is told where to keep files.
FOLDER_VARIABLE = "GRADIO_TEMP_DIR"
LARGEST_FILE = 20 * 2**20
# An upload that nobody asks about, because its visitor left, is deleted after this long, seconds.
LIFETIME = 120
BUSY = "Busy: too many visitors at this moment. Please try again in some seconds."
# Browsers are told to load nothing from anywhere else. Gradio's pages run scripts and styles of their own.
POLICY = (
    "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; object-src 'none'; base-uri 'self'; "
    "form-action 'self'"
)
# Marks requests to this app: other apps of Gradio in the same process store uploads as they always do.
STORE_APART = "elfw_store_apart"


class PrivateFolder:
    """A new folder, readable by this user only, that Gradio keeps all its files in: of one app at a time."""

    def __init__(self):
        self.before = os.environ.get(FOLDER_VARIABLE)
        self.path = Path(tempfile.mkdtemp(prefix="elfw_app_"))
        os.environ[FOLDER_VARIABLE] = str(self.path)
        atexit.register(self.delete)

    def delete(self) -> None:
        """Delete the folder with all that is in it, and let Gradio forget it."""
        shutil.rmtree(self.path, ignore_errors=True)
        if os.environ.get(FOLDER_VARIABLE) == str(self.path):
            del os.environ[FOLDER_VARIABLE]
            if self.before is not None:
                os.environ[FOLDER_VARIABLE] = self.before


def make_photo_input() -> gradio.Image:
    """Return the place for a photo, which is handed on as a path: not decoded, and no address is fetched."""
    photo = gradio.Image(
        type="filepath",
        sources=["upload", "webcam"],
        label="Your photo",
        placeholder="Drop a face here, or choose a file",
        height=250,
        buttons=[],
    )
    # On this one object: for a class of its own Gradio would write a .pyi file beside this one.
    photo.preprocess = take_path
    photo.async_move_resource_to_block_cache = partial(
        refuse_address, photo.async_move_resource_to_block_cache
    )
    return photo


def take_path(payload: ImageData | None) -> Path | None:
    """Return the file that was uploaded."""
    return Path(payload.path) if payload and payload.path else None


async def refuse_address(move: Callable, place: str | Path | None) -> str | None:
    """Refuse web addresses, which Gradio would download for whoever sends them; move anything else."""
    if "://" in str(place):
        raise gradio.Error("Send the photo itself, not its address.", print_exception=False)
    return await move(place)


def delete_upload(path: Path) -> None:
    """Delete an uploaded photo; any other file stays."""
    if path.is_file() and path.resolve().is_relative_to(Path(os.environ[FOLDER_VARIABLE]).resolve()):
        path.unlink(missing_ok=True)


async def store_apart(store: Callable, request: Request, folder: str, *options, **more) -> tuple:
    """Store an upload in a new folder with a random name; wraps Gradio's own function, `store`.

    Gradio names folders after the content: of two visitors with the same photo, the first answer would delete
    the photo of both. Gradio's `delete_cache` is no help: it leaves folders and uploads that broke
    off, and stops for good when an upload arrives while it goes through the set of all uploads.
    """
    if not request.scope.get(STORE_APART):
        return await store(request, folder, *options, **more)
    folder = Path(folder) / secrets.token_hex(16)
    folder.mkdir(mode=0o700)
    try:
        files, *to_move = await store(request, folder, *options, **more)
        return [hide_name(Path(file)) for file in files], *to_move
    finally:
        asyncio.get_running_loop().call_later(LIFETIME, shutil.rmtree, folder, True)


def hide_name(path: Path) -> str:
    """Rename an upload: its own name says more than is needed, and may be that of a web page or SVG."""
    suffix = path.suffix.lower()
    return str(path.rename(path.with_name(f"photo{suffix if suffix in IMAGE_SUFFIXES else ''}")))


routes.upload_fn = partial(store_apart, routes.upload_fn)


class RequestGuard:
    """Wraps the web server: marks uploads, sends a policy with every page, and forgets each answer."""

    def __init__(self, app: Callable):
        self.app = app

    async def __call__(self, scope: dict, receive: Callable, send: Callable[[dict], Awaitable]) -> None:
        """Answer one request (the ASGI protocol)."""

        async def send_with_policy(message: dict) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"content-security-policy", POLICY.encode())]
            await send(message)

        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        scope[STORE_APART] = True
        await self.app(scope, receive, send_with_policy)
        if scope["path"].endswith("/queue/data") or "/call/" in scope["path"]:
            # Gradio keeps each visitor's last answer, photo and all. Nothing here needs it again.
            scope["app"].state_holder.session_data.clear()


def say_busy(request: Request, error: Exception) -> JSONResponse:
    """Answer a request that finds the queue full (HTTP 503)."""
    return JSONResponse({"detail": BUSY}, 503)
