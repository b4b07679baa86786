"""Who can reach an app once it is open, and by which password: told before Gradio is loaded."""

from __future__ import annotations

import os

from elfw_helpers.utils.errors import ElfwError

LOCAL_HOST = "127.0.0.1"
PASSWORD_VARIABLE = "ELFW_APP_AUTH"


def describe_exposure(host: str, share: bool, auth: bool) -> list[str]:
    """Return what others will be able to do once the app is open, in sentences; none if it stays local."""
    lines = []
    if host != LOCAL_HOST:
        lines += [
            f"--host {host}: whoever reaches this machine over the network can use the app.",
            "What they send is not encrypted on its way.",
        ]
    if share:
        lines += [
            "--share: a public address, for up to a week; whoever has it can use the app.",
            "Photos travel through Gradio's servers, and a program of Gradio's is fetched for it.",
        ]
    if lines:
        lines += [
            "They can use this machine's time and see its answers, but not each other's photos.",
            "They have to give the name and the password."
            if auth
            else f"Nobody is asked for a password: --auth with ${PASSWORD_VARIABLE} does that.",
        ]
    return lines


def read_password() -> tuple[str, str]:
    """Return the name and the password in the environment, or raise ElfwError if there are none."""
    user, colon, password = os.environ.get(PASSWORD_VARIABLE, "").partition(":")
    if not (user and colon and password):
        raise ElfwError(f"--auth needs {PASSWORD_VARIABLE}=user:password in the environment")
    return user, password
