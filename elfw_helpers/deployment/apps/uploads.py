"""Photos that visitors send: kept in private, checked before they are decoded, deleted once answered."""

from __future__ import annotations

import asyncio
import atexit
import json
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import gradio
from gradio.data_classes import ImageData
from PIL import Image

from elfw_helpers.data.images import IMAGE_SUFFIXES, read_image
from elfw_helpers.utils.errors import DataError

# The variable by which Gradio is told where to keep files.
PLACE = "GRADIO_TEMP_DIR"
LARGEST_FILE = 20 * 2**20
# An upload that nobody asks about, because its visitor left, goes after this long, seconds.
LIFETIME = 120
BUSY = "Busy: too many visitors at this moment. Please try again in some seconds."
# Browsers are told to load nothing from anywhere else. Gradio's pages run scripts and styles of their own.
POLICY = (
    "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; object-src 'none'; base-uri 'self'; "
    "form-action 'self'"
)


class PrivateFolder:
    """A new folder, readable by this user only, that Gradio keeps all its files in: of one app at a time."""

    def __init__(self):
        self.before = os.environ.get(PLACE)
        self.path = Path(tempfile.mkdtemp(prefix="elfw_app_"))
        os.environ[PLACE] = str(self.path)
        atexit.register(self.delete)

    def delete(self) -> None:
        """Delete the folder with all that is in it, and let Gradio forget it."""
        shutil.rmtree(self.path, ignore_errors=True)
        if os.environ.get(PLACE) == str(self.path):
            del os.environ[PLACE]
            if self.before is not None:
                os.environ[PLACE] = self.before


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


def read_upload(path: Path) -> Image.Image:
    """Return an uploaded photo as upright RGB: whatever `elfw predict` reads, and nothing else.

    Raises:
        DataError: it is no photo, damaged, too small or too large.
    """
    try:
        return read_image(path)
    except MemoryError as error:
        raise DataError(path, "needs more memory than there is", "Scale it down") from error


def delete_upload(path: Path) -> None:
    """Delete an uploaded photo, with the folder that is its own; anything else stays."""
    private = Path(os.environ[PLACE]).resolve()
    if path.resolve().parent.parent == private:
        shutil.rmtree(path.parent, ignore_errors=True)


class UploadGuard:
    """Wraps the web server: every upload gets a folder of its own, and every page a policy.

    Gradio names an upload's folder after its content, so that of two visitors with the same photo the first
    answered would take it away from the other.
    """

    def __init__(self, app: Callable):
        self.app = app
        self.finishing = asyncio.Lock()

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        """Answer one request (the ASGI protocol)."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
        elif scope["path"].endswith("/upload"):
            await self.move_upload(scope, receive, send)
        else:
            await self.app(scope, receive, Reply(send).pass_on)
            if scope["path"].endswith("/queue/data") or "/call/" in scope["path"]:
                # Gradio keeps each visitor's last answer, photo and all. Nothing here needs it again.
                scope["app"].state_holder.session_data.clear()

    async def move_upload(self, scope: dict, receive: Callable, send: Callable) -> None:
        """Answer an upload; from its last byte on, one at a time, or two of the same photo would meet."""
        reply, holding = Reply(send), False

        async def receive_last() -> dict:
            nonlocal holding
            message = await receive()
            if message["type"] == "http.request" and not message.get("more_body") and not holding:
                await self.finishing.acquire()
                holding = True
            return message

        try:
            await self.app(scope, receive_last, reply.keep)
            if reply.status == 200:
                reply.body = json.dumps([separate(Path(name)) for name in json.loads(reply.body)]).encode()
        finally:
            if holding:
                self.finishing.release()
            asyncio.get_running_loop().call_later(LIFETIME, sweep)
        await reply.finish()


def sweep() -> None:
    """Delete what is left of uploads that broke off."""
    for file in Path(os.environ.get(PLACE, os.devnull)).glob("tmp*"):
        if file.is_file() and time.time() - file.stat().st_mtime > LIFETIME:
            file.unlink(missing_ok=True)


def separate(path: Path) -> str:
    """Move an upload into a folder that nobody can guess, for a time; return its path."""
    folder = path.parent.parent / secrets.token_hex(16)
    folder.mkdir(mode=0o700)
    # Not under the visitor's own name of the file, which says more than is needed, nor as a web page or SVG.
    suffix = path.suffix.lower()
    moved = path.rename(folder / f"photo{suffix if suffix in IMAGE_SUFFIXES else ''}")
    path.parent.rmdir()
    asyncio.get_running_loop().call_later(LIFETIME, shutil.rmtree, folder, True)
    return str(moved)


class Reply:
    """A server's answer on its way out."""

    def __init__(self, send: Callable[[dict], Awaitable[None]]):
        self.send = send
        self.start: dict = {}
        self.body = b""

    @property
    def status(self) -> int:
        """The answer's HTTP status, 0 before there is one."""
        return self.start.get("status", 0)

    async def pass_on(self, message: dict) -> None:
        """Send a part of the answer on, with the policy, and a kind word where the queue is full."""
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], (b"content-security-policy", POLICY.encode())]
            if message["status"] == 503:
                self.start = message
                return
        elif self.start:
            self.body = json.dumps({"detail": BUSY}).encode()
            await self.finish()
            return
        await self.send(message)

    async def keep(self, message: dict) -> None:
        """Keep the answer until `finish`."""
        if message["type"] == "http.response.start":
            self.start = message
        else:
            self.body += message.get("body", b"")

    async def finish(self) -> None:
        """Send what was kept."""
        kept = [header for header in self.start["headers"] if header[0].lower() != b"content-length"]
        self.start["headers"] = [*kept, (b"content-length", str(len(self.body)).encode())]
        await self.send(self.start)
        await self.send({"type": "http.response.body", "body": self.body})
