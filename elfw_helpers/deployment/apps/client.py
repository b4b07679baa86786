"""Ask a running app from a program, over HTTP: send a photo, ask about it, wait for the answer."""

from __future__ import annotations

import json
from pathlib import Path

import httpx

from elfw_helpers.utils.errors import ElfwError


def ask_app(client: httpx.Client, app: str, photo: str | Path | tuple[str, bytes]) -> dict:
    """Return a running app's answer for a photo.

    Args:
        client: its `base_url` is the app's address, its `timeout` holds for each of the three requests.
        app: "attributes" or "segmentation".
        photo: a file, or its name and its content.

    Raises:
        ElfwError: the app refused the photo or is busy; says why.
        httpx.HTTPError: the app cannot be reached, or does not answer in time.
    """
    name, content = photo if isinstance(photo, tuple) else (Path(photo).name, Path(photo).read_bytes())
    (path,) = read_json(client.post("gradio_api/upload", files={"files": (name, content)}))
    file = {"path": path, "meta": {"_type": "gradio.FileData"}}
    event = read_json(client.post(f"gradio_api/call/{app}", json={"data": [file]}))["event_id"]
    return wait_for_answer(client, f"gradio_api/call/{app}/{event}")


def read_json(response: httpx.Response) -> dict | list:
    """Return a response's JSON, or raise ElfwError with what the app says instead."""
    if response.is_success:
        return response.json()
    is_json = response.headers.get("content-type", "").startswith("application/json")
    said = response.json().get("detail") if is_json else response.text
    raise ElfwError(f"The app answers {response.status_code}: {said}")


def wait_for_answer(client: httpx.Client, address: str) -> dict:
    """Return the answer that an address streams, once it is there, or raise ElfwError with the refusal."""
    with client.stream("GET", address) as response:
        event = ""
        for line in response.iter_lines():
            kind, _, value = line.partition(": ")
            if kind == "event":
                event = value
            elif kind == "data" and event == "complete":
                return json.loads(value)[0]
            elif kind == "data" and event == "error":
                said = json.loads(value)
                text = said.get("error") if isinstance(said, dict) else said
                raise ElfwError(text or "The app failed, and does not say why")
    raise ElfwError(f"The app answers {response.status_code}, and nothing more")
