"""Starts the runner in bubblewrap, in Docker or Podman, or, only if asked to, without protection."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import elfw_helpers
from elfw_course.grading.seccomp import open_filter
from elfw_course.grading.turns import claim
from elfw_course.grading.watchdog import end_tree
from elfw_helpers.utils.errors import ElfwError
from elfw_helpers.utils.paths import data_folder, embedded_archive, project_folder

COURSE = Path(__file__).resolve().parents[1]
INSIDE = COURSE / "grading" / "inside"
RUNNER = "elfw_course.grading.inside.runner"
SYSTEM = Path("/usr")  # can be read in every sandbox
# Where Pythons keep their packages: a virtual environment's base is visible, and not in `sys.path`.
PACKAGES = ("lib*/python3*/*-packages", "local/lib/python3*/*-packages")
# Releases before `elfw_course` kept the judge there; a checkout still has its compiled files.
FORMER_GRADING = Path("elfw_helpers", "grading")
DISK = 64 << 20  # bytes of each folder that can be written to
WRITABLE = ("/dev/shm", "/tmp")
MOST_PROCESSES = 64
# Users that no system assigns; each job (see `turns`) has its own: the kernel counts processes per user.
FIRST_USER = 64000
SYSTEM_FILES = ("/etc/ld.so.cache", "/etc/localtime", "/etc/fonts", "/etc/alternatives")
ENGINES = ("docker", "podman")
CONTAINER = "elfw-grading-"  # before the number of a job
REFUSAL = """\
No sandbox was found, and submissions are programs that strangers wrote: nothing was run.
{found}. What mends it:
{mend}
Docker or Podman will do, too.
--unsandboxed runs them as you: they can then read and delete your files, use the network, read the answer
key and hang your machine. Use it only for notebooks that you have written yourself."""
INSTALL = "sudo apt install bubblewrap (on other systems than Debian and Ubuntu, by their own installer)"
# Where Ubuntu says, since 24.04, whether only programs with an AppArmor profile may make user namespaces.
RESTRICTION = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
# AppArmor's own profile, which lets bubblewrap do so, and nothing that it starts. Ubuntu 24.04 ships it
# switched off; the reload loads it into the kernel, so nothing has to be started again. Not tried here.
# Source: what AppArmor's developer says in https://github.com/ocaml/opam/issues/5968; the same commands in
# https://github.com/microsoft/vscode/issues/316046, which also says that Ubuntu 25.04 has it loaded.
ADD_PROFILE = """\
sudo apt install apparmor-profiles
sudo install -m 0644 /usr/share/apparmor/extra-profiles/bwrap-userns-restrict /etc/apparmor.d/
sudo systemctl reload apparmor"""
ALLOW_NAMESPACES = "Let users make namespaces (man bwrap), or grade in a virtual machine of your own"


class NoSandbox(ElfwError):
    """This machine has no sandbox.

    Args:
        found: what is the matter with bubblewrap.
        mend: what to do about it, in commands or in words.
    """

    def __init__(self, found: str, mend: str):
        self.found, self.mend = found, mend
        super().__init__(REFUSAL.format(found=found, mend=mend))

    def __reduce__(self) -> tuple:
        """Return how pickle makes it again: it may be raised on another machine."""
        return type(self), (self.found, self.mend)


@dataclass(frozen=True)
class Sandbox:
    """One way to run the runner."""

    name: str  # "bubblewrap", "docker", "podman" or "unsandboxed"
    visible: tuple[Path, ...]  # what code inside can read, besides the system's programs
    is_capped: bool = False  # whether systemd limits memory, processes and processor time too

    @property
    def in_memory(self) -> tuple[str, ...]:
        """Folders inside that can be written to, whose files are in memory; an engine counts its own."""
        return WRITABLE if self.name == "bubblewrap" else ()

    def start(self, job: int, memory: int) -> subprocess.Popen[bytes]:
        """Start a runner that may hold `memory` bytes, with pipes to its three descriptors."""
        filter_handle = open_filter() if self.name == "bubblewrap" else None
        try:
            return subprocess.Popen(
                self.command(job, memory, filter_handle),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                # Ctrl-C is for the parent, which ends what it has started.
                start_new_session=True,
                env=None if self.name in ENGINES else self._outer_environment(),
                pass_fds=() if filter_handle is None else (filter_handle,),
            )
        finally:
            if filter_handle is not None:
                os.close(filter_handle)

    def _outer_environment(self) -> dict[str, str]:
        """Return the variables of what starts the runner: it stays beside it, where they could be read."""
        bus = ("XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS") if self.is_capped else ()
        found = {name: os.environ[name] for name in bus if name in os.environ}
        return environment(tempfile.gettempdir()) | found

    def command(self, job: int, memory: int, filter_handle: int | None = None) -> list[str]:
        """Return the command line of a runner; its arguments are those of `runner.limit_resources`."""
        is_bubblewrap = self.name == "bubblewrap"
        drop_to = FIRST_USER + job if is_bubblewrap and os.geteuid() == 0 else 0
        limits = (drop_to, memory, MOST_PROCESSES if is_bubblewrap else 0)
        python = [sys.executable, "-m", RUNNER, *map(str, limits)]
        if is_bubblewrap:
            cap = systemd_command(memory) if self.is_capped else []
            return [*cap, *bubblewrap_command(self.visible, filter_handle), *python]
        if self.name in ENGINES:
            return [*container_command(self.name, container_name(job), self.visible, memory), *python]
        return python

    def end(self, process: subprocess.Popen[bytes], job: int) -> None:
        """End a runner and all that it started, and wait until they are gone."""
        if self.name in ENGINES:
            subprocess.run([self.name, "rm", "--force", container_name(job)], capture_output=True)
        end_tree(process)

    def remove_left_over(self) -> None:
        """Remove the containers of graders that are gone: one that was killed could not."""
        if self.name not in ENGINES:
            return
        listing = [self.name, "ps", "--all", "--format={{.Names}}", f"--filter=name={CONTAINER}"]
        for name in subprocess.run(listing, capture_output=True, encoding="utf-8").stdout.split():
            number = name.removeprefix(CONTAINER)
            if number.isdecimal() and (claimed := claim(number)):
                with claimed:
                    subprocess.run([self.name, "rm", "--force", name], capture_output=True)


def choose_sandbox(unsandboxed: bool) -> Sandbox:
    """Return the best sandbox of this machine, or none if asked to; raise NoSandbox if there is none."""
    if unsandboxed:
        return Sandbox("unsandboxed", ())
    found, mend = "bubblewrap is not installed", INSTALL
    if shutil.which("bwrap"):
        problem = _try_bubblewrap()
        if problem is None:
            return Sandbox("bubblewrap", visible_paths(), is_capped=_try_systemd())
        found, mend = f"bubblewrap is here, but does not start: {problem}", ALLOW_NAMESPACES
        if needs_profile():
            found, mend = f"{found}, for Ubuntu asks for an AppArmor profile", ADD_PROFILE
    for engine in ENGINES:
        if shutil.which(engine) and not subprocess.run([engine, "info"], capture_output=True).returncode:
            return Sandbox(engine, visible_paths())
    raise NoSandbox(found, mend)


def needs_profile() -> bool:
    """Say whether AppArmor lets only programs with a profile make user namespaces; root may without."""
    is_restricted = RESTRICTION.is_file() and RESTRICTION.read_text(encoding="utf-8").strip() != "0"
    return is_restricted and os.geteuid() != 0


def visible_paths() -> tuple[Path, ...]:
    """Return what code inside can read: Python, its packages, `elfw_helpers`, `inside/` and the data."""
    helpers = Path(elfw_helpers.__file__).resolve().parent
    # A Python looks for its packages by the names that lead to it, which may be links.
    base = Path(sys.base_prefix)
    places = {Path(sys.prefix), base, base.resolve(), *follow_links(Path(sys.executable))}
    places |= {helpers, INSIDE, project_folder() / "data"}
    # Beside a course that pip installed, there are no faces.
    if os.environ.get("ELFW_DATA") or embedded_archive().exists():
        places.add(data_folder())
    # /bin is a link into /usr on most systems.
    system = {place for place in places if (place.parent.resolve() / place.name).is_relative_to(SYSTEM)}
    places = {place for place in places - system if place.exists()}
    return tuple(sorted(place for place in places if not any(other in place.parents for other in places)))


def follow_links(file: Path) -> list[Path]:
    """Return a file and, if it is a link, the files that it leads to, one after another."""
    files = [file]
    while files[-1].is_symlink():
        files.append(Path(os.path.abspath(files[-1].parent / files[-1].readlink())))
    return files


def refuse_exposed(sandbox: Sandbox, hidden: Path) -> None:
    """Raise ElfwError when a file or folder that submissions must not read is where they can."""
    for place in (*sandbox.visible, SYSTEM):
        if hidden.resolve().is_relative_to(place):
            raise ElfwError(f"{hidden} lies in {place}, which submissions can read. Move it out of there.")


def find_exposed_copies(visible: Sequence[Path]) -> list[Path]:
    """Return the copies of the judge in folders that submissions can read, such as site-packages.

    So each is covered by an empty folder, and `inside/` is put back into our own `elfw_course`.
    """
    places = (*visible, SYSTEM)
    folders = [COURSE.parent, *map(Path, sys.path)]
    folders += [folder for place in places for pattern in PACKAGES for folder in place.glob(pattern)]
    copies = {Path(folder, name).resolve() for folder in folders for name in (COURSE.name, FORMER_GRADING)}
    found = set()
    for place in places:
        inner = (copy for copy in copies if copy.is_dir() and copy.is_relative_to(place.resolve()))
        # By the name that it has inside: a folder may be visible by a link.
        found |= {place / copy.relative_to(place.resolve()) for copy in inner}
    return sorted(found)


def environment(home: str) -> dict[str, str]:
    """Return the environment variables of a runner: nothing of the instructor's own."""
    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": home,
        "USER": "student",
        "LANG": "C.UTF-8",
        "MPLBACKEND": "agg",
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        # The runner is of the same course as the grader, whichever is installed.
        "PYTHONPATH": str(COURSE.parent),
        "CUDA_VISIBLE_DEVICES": "",
        "ELFW_BUILD": f"{home}/build",
        **dict.fromkeys(threads, "1"),
    }


def bubblewrap_command(visible: Sequence[Path], filter_handle: int | None) -> list[str]:
    """Return bubblewrap's part of the command line.

    Root needs no user namespace, and the runner drops root itself; others get a namespace of their own.
    """
    root = os.geteuid() == 0
    command = ["bwrap", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts"]
    command += ["--unshare-cgroup-try", "--die-with-parent", "--new-session", "--clearenv"]
    command += ["--cap-drop", "ALL"]
    command += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"] if root else ["--unshare-user"]
    command += ["--ro-bind", "/usr", "/usr", *_system_links(), "--proc", "/proc", "--dev", "/dev"]
    for folder in WRITABLE:
        command += ["--perms", "1777", "--size", str(DISK), "--tmpfs", folder]
    # Submissions need no terminal, and the number for all sandboxes together is limited.
    command += ["--tmpfs", "/dev/pts", "--remount-ro", "/dev/pts"]
    for name in SYSTEM_FILES:
        command += ["--ro-bind-try", name, name]
    # Made without being asked, the folders above would be closed to all but root.
    parents = {parent for place in visible for parent in place.parents} - {Path("/"), Path("/tmp")}
    for parent in sorted(parents):
        command += ["--perms", "0755", "--dir", str(parent)]
    for place in visible:
        command += ["--ro-bind", str(place), str(place)]
    for copy in find_exposed_copies(visible):
        command += ["--perms", "0755", "--tmpfs", str(copy)]
        if copy.resolve() == COURSE:
            inside = copy / INSIDE.relative_to(COURSE)
            command += ["--perms", "0755", "--dir", str(inside.parent), "--ro-bind", str(INSIDE), str(inside)]
        command += ["--remount-ro", str(copy)]
    command += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/tmp"]
    for name, value in environment("/tmp").items():
        command += ["--setenv", name, value]
    return command + ([] if filter_handle is None else ["--seccomp", str(filter_handle)]) + ["--"]


def systemd_command(memory: int) -> list[str]:
    """Return systemd's part of the command line: a control group that ends with what runs in it.

    It is for what the watchdog cannot see, such as memory of the kernel, or sees too late. So it leaves room
    above the `memory` in bytes that the watchdog allows: the watchdog says what was too much.
    """
    whose = [] if os.geteuid() == 0 else ["--user"]
    limits = {"MemoryMax": 2 * memory + len(WRITABLE) * DISK, "MemorySwapMax": 0}
    limits |= {"TasksMax": 4 * MOST_PROCESSES, "CPUQuota": "100%"}
    options = [f"--property={name}={value}" for name, value in limits.items()]
    return ["systemd-run", *whose, "--scope", "--quiet", "--collect", "--no-ask-password", *options, "--"]


def _try_systemd() -> bool:
    """Say whether systemd is here and sets the limits that it is asked for."""
    if not shutil.which("systemd-run"):
        return False
    return subprocess.run([*systemd_command(1 << 30), "/usr/bin/true"], capture_output=True).returncode == 0


def container_name(job: int) -> str:
    """Return the name of the container of a job."""
    return f"{CONTAINER}{job}"


def container_command(engine: str, name: str, visible: Sequence[Path], memory: int) -> list[str]:
    """Return Docker's or Podman's part of the command line: an empty image with this machine's programs."""
    command = [engine, "run", "--rm", "--interactive", "--init", f"--name={name}", "--network=none"]
    command += ["--read-only", "--user=64000:64000", "--cap-drop=ALL", "--security-opt=no-new-privileges"]
    command += [f"--memory={memory}", f"--memory-swap={memory}", f"--pids-limit={MOST_PROCESSES}"]
    command += [f"--tmpfs=/tmp:rw,size={DISK},mode=1777", f"--shm-size={DISK}", "--workdir=/tmp"]
    folders = [Path(name) for name in ("/usr", "/lib", "/lib64", "/bin", *SYSTEM_FILES)]
    for place in (*(folder for folder in folders if folder.exists()), *visible):
        command += ["--volume", f"{place}:{place}:ro"]
    for copy in find_exposed_copies(visible):
        # Only root can write there, and submissions are not root.
        command.append(f"--tmpfs={copy}:rw,size=64k,mode=0755")
        if copy.resolve() == COURSE:
            command += ["--volume", f"{INSIDE}:{copy / INSIDE.relative_to(COURSE)}:ro"]
    for name, value in environment("/tmp").items():
        command += ["--env", f"{name}={value}"]
    return [*command, _empty_image(engine)]


def _empty_image(engine: str) -> str:
    """Make sure that there is an image with nothing in it, and return its name."""
    name = "elfw-empty"
    if subprocess.run([engine, "image", "inspect", name], capture_output=True).returncode:
        nothing = b"\0" * 10240  # an archive without a file
        subprocess.run([engine, "import", "-", name], input=nothing, capture_output=True, check=True)
    return name


def _system_links() -> list[str]:
    """Return the options for /lib and its like: links into /usr on most systems, folders on some."""
    options = []
    for name in ("bin", "lib", "lib64"):
        place = Path("/", name)
        if place.is_symlink():
            options += ["--symlink", str(place.readlink()), str(place)]
        elif place.is_dir():
            options += ["--ro-bind", str(place), str(place)]
    return options


def _try_bubblewrap() -> str | None:
    """Return what keeps bubblewrap from starting, or None."""
    command = [*bubblewrap_command((), None), "/usr/bin/true"]
    tried = subprocess.run(command, capture_output=True, encoding="utf-8")
    return None if tried.returncode == 0 else tried.stderr.strip() or f"exit code {tried.returncode}"
