"""The apps over HTTP: answers, refusals, what is left on the disk, and 200 uploads of all kinds."""

import base64
import inspect
import io
import os
import random
import re
import socket
import struct
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
from gradio import route_utils
from PIL import EpsImagePlugin, Image

from elfw_course.cli import main
from elfw_helpers.data.images import read_image, read_mask
from elfw_helpers.data.labels import ATTRIBUTES, DISPLAY_COLOURS, PALETTE, PIXEL_CLASSES
from elfw_helpers.deployment import predict
from elfw_helpers.deployment.apps import serve, uploads
from elfw_helpers.deployment.apps.attributes import answer_attributes, show_attributes
from elfw_helpers.deployment.apps.client import ask_app
from elfw_helpers.deployment.apps.html import number_faces
from elfw_helpers.deployment.apps.segmentation import answer_segmentation, show_segmentation
from elfw_helpers.deployment.apps.serve import start_app
from elfw_helpers.deployment.apps.web_page import read_examples
from elfw_helpers.deployment.exposure import describe_exposure, read_password
from elfw_helpers.deployment.faces import Frame, whole_frame
from elfw_helpers.utils.errors import DataError, ElfwError
from tests.deployment.app_models import make_models
from tests.faces import paint_face

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n(/etc/passwd) run\n%%EOF"
FACE = Image.fromarray(paint_face(1, 0)[0]).resize((96, 80))


def encode(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.fixture(scope="module", autouse=True)
def found():
    """The frames that the finder finds in every photo; without any, the whole photo's."""
    frames: list[Frame] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predict, "find_faces", lambda image: frames or [whole_frame(*image.size)])
        yield frames


@pytest.fixture(scope="module")
def app():
    """Both apps, on small untrained networks."""
    with start_app(models=make_models("efficient_attributes", "mini_network", "efficient_unet")) as running:
        yield running


@pytest.fixture
def client(app):
    with httpx.Client(base_url=app.url, timeout=60) as client:
        yield client


def files_in(app) -> list[Path]:
    """List the files of an app; unlike `rglob`, `walk` passes over a folder that is deleted meanwhile."""
    return [Path(folder, name) for folder, _, names in os.walk(app.private.path) for name in names]


def wait_until(condition) -> None:
    """Wait for up to five seconds."""
    for _ in range(50):
        if condition():
            return
        time.sleep(0.1)
    pytest.fail("it never came true")


def test_attributes_of_a_photo_by_both_networks(client):
    answer = ask_app(client, "attributes", ("face.jpg", encode(FACE, "JPEG")))
    assert list(answer) == ["efficient_attributes", "mini_network"]
    for one in answer.values():
        (face,) = one["faces"]
        assert sum(face["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert face["attribute"] == max(face["probabilities"], key=face["probabilities"].get)
        assert one["milliseconds"] > 0


def test_mask_of_a_photo_at_its_own_size(client, tmp_path):
    answer = ask_app(client, "segmentation", ("face.png", encode(FACE, "PNG")))
    (tmp_path / "mask.png").write_bytes(base64.b64decode(answer["mask"].partition(",")[2]))
    mask = read_mask(tmp_path / "mask.png")
    assert mask.shape == (80, 96)
    shares = np.bincount(mask.ravel(), minlength=len(PIXEL_CLASSES)) / mask.size
    (face,) = answer["faces"]
    assert list(face["class_fractions"].values()) == pytest.approx(shares.tolist(), abs=1e-5)
    assert face["attribute"] in ATTRIBUTES


def test_nothing_of_a_photo_is_left_on_the_disk(app, client):
    ask_app(client, "attributes", ("Ann at the beach.jpg", encode(FACE, "JPEG")))
    with pytest.raises(ElfwError):
        ask_app(client, "segmentation", ("notes.png", b"dear diary"))
    assert files_in(app) == []
    assert app.private.path.stat().st_mode & 0o077 == 0


def test_no_answer_is_kept_in_memory(app, client):
    ask_app(client, "segmentation", ("face.jpg", encode(FACE, "JPEG")))
    # Forgotten just after the answer has been sent.
    wait_until(lambda: not app.blocks.app.state_holder.session_data)


def test_an_upload_has_a_place_that_nobody_guesses_and_not_its_own_name(app, client):
    sent = {"files": ("Ann at the beach.jpg", encode(FACE, "JPEG"))}
    paths = [Path(client.post("gradio_api/upload", files=sent).json()[0]) for _ in range(2)]
    assert {path.name for path in paths} == {"photo.jpg"}
    assert paths[0].parent != paths[1].parent
    for path in paths:
        uploads.delete_upload(path)
    assert files_in(app) == []


def test_an_upload_that_nobody_asks_about_is_deleted(app, client, monkeypatch):
    monkeypatch.setattr(uploads, "LIFETIME", 0.2)
    client.post("gradio_api/upload", files={"files": ("face.jpg", encode(FACE, "JPEG"))})
    wait_until(lambda: not files_in(app))


def test_an_upload_that_breaks_off_is_deleted(app, monkeypatch):
    monkeypatch.setattr(uploads, "LIFETIME", 0.2)
    begun = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\n' + bytes(1000)
    head = f"POST /gradio_api/upload HTTP/1.1\r\nHost: {app.url[7:-1]}\r\nContent-Length: 9000\r\n"
    with socket.create_connection(("127.0.0.1", app.blocks.server_port)) as connection:
        connection.sendall(f"{head}Content-Type: multipart/form-data; boundary=x\r\n\r\n".encode() + begun)
        # Gradio 6.24 begins uploads in the system's folder for temporary files.
        if "upload_dir" in inspect.signature(route_utils.GradioMultiPartParser).parameters:
            wait_until(lambda: files_in(app))
    wait_until(lambda: not files_in(app))


def test_two_uploads_in_one_request_are_kept_apart(app, client):
    sent = [("files", ("a.jpg", encode(FACE, "JPEG"))), ("files", ("b.png", encode(FACE, "PNG")))]
    first, second = map(Path, client.post("gradio_api/upload", files=sent).json())
    assert (first.name, second.name) == ("photo.jpg", "photo.png")
    uploads.delete_upload(first)
    assert files_in(app) == [second]
    uploads.delete_upload(second)


def test_only_uploads_are_deleted(app, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "face.jpg").touch()
    uploads.delete_upload(tmp_path / "mine" / "face.jpg")
    assert (tmp_path / "mine" / "face.jpg").exists()


def test_visitors_with_the_same_photo_do_not_take_it_from_each_other(client, app):
    photo = ("face.jpg", encode(FACE, "JPEG"))
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _: ask_app(client, "segmentation", photo), range(24)))
    assert len({answer["mask"] for answer in answers}) == 1
    assert files_in(app) == []


@pytest.mark.parametrize(
    "path",
    ["https://example.org/face.jpg", "http://127.0.0.1:1/face.jpg", "/etc/hostname", "../../etc/hostname"],
)
def test_nothing_but_an_upload_is_read(client, path):
    file = {"path": path, "meta": {"_type": "gradio.FileData"}}
    asked = client.post("gradio_api/call/attributes", json={"data": [file]})
    answer = client.get(f"gradio_api/call/attributes/{asked.json()['event_id']}").text
    assert "event: error" in answer and "probabilities" not in answer


def test_no_photo_is_a_friendly_error(client):
    asked = client.post("gradio_api/call/attributes", json={"data": [None]})
    assert "No photo was sent." in client.get(f"gradio_api/call/attributes/{asked.json()['event_id']}").text


def test_a_file_that_is_too_large_is_refused(client, app, monkeypatch):
    with pytest.raises(ElfwError, match="413.*maximum allowed size"):
        ask_app(client, "attributes", ("face.jpg", bytes(uploads.LARGEST_FILE + 1)))
    assert files_in(app) == []


def test_pages_forbid_what_comes_from_elsewhere_and_offer_the_two_apps(client):
    page = client.get("")
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert set(client.get("gradio_api/info").json()["named_endpoints"]) == {"/attributes", "/segmentation"}
    config = client.get("config").json()
    assert not config["analytics_enabled"] and "googleapis" not in page.text
    # Gradio would keep what visitors send in their browser.
    assert config["run_history"] is False


def test_a_full_queue_says_busy(monkeypatch):
    monkeypatch.setattr(serve, "QUEUE_LENGTH", 1)
    models = make_models("efficient_unet")
    with (
        start_app(("segmentation",), models) as app,
        httpx.Client(base_url=app.url, timeout=60) as client,
        ThreadPoolExecutor(12) as pool,
    ):
        large = ("face.jpg", encode(FACE.resize((2400, 2000)), "JPEG"))

        def ask(_: int) -> str:
            try:
                return ask_app(client, "segmentation", large)["faces"][0]["attribute"]
            except ElfwError as error:
                return str(error)

        answers = set(pool.map(ask, range(12)))
        assert f"The app answers 503: {uploads.BUSY}" in answers
        # It goes on for whoever comes next.
        assert ask(0) in ATTRIBUTES


def test_a_closed_app_leaves_nothing():
    app = start_app(("segmentation",), make_models("efficient_unet"))
    app.close()
    app.close()
    assert not app.private.path.exists() and os.environ.get(uploads.FOLDER_VARIABLE) != str(app.private.path)
    with pytest.raises(httpx.ConnectError):
        httpx.get(app.url)


def test_a_port_that_is_taken_is_said(app):
    with pytest.raises(ElfwError, match=f"port {app.blocks.server_port}.*Try --port"):
        start_app(("segmentation",), make_models("efficient_unet"), port=app.blocks.server_port)
    assert os.environ[uploads.FOLDER_VARIABLE] == str(app.private.path)


def test_visitors_without_the_password_are_kept_out():
    with (
        start_app(("segmentation",), make_models("efficient_unet"), auth=("ann", "secret")) as app,
        httpx.Client(base_url=app.url, timeout=60) as client,
    ):
        with pytest.raises(ElfwError, match="401"):
            ask_app(client, "segmentation", ("face.jpg", encode(FACE, "JPEG")))
        assert client.post("login", data={"username": "ann", "password": "guess"}).status_code == 400
        assert client.post("login", data={"username": "ann", "password": "secret"}).is_success
        assert len(ask_app(client, "segmentation", ("face.jpg", encode(FACE, "JPEG")))["faces"]) == 1


def test_the_password_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv("ELFW_APP_AUTH", "ann:se:cret")
    assert read_password() == ("ann", "se:cret")
    for wrong in ("", "ann", "ann:", ":secret"):
        monkeypatch.setenv("ELFW_APP_AUTH", wrong)
        with pytest.raises(ElfwError, match="ELFW_APP_AUTH=user:password"):
            read_password()


def test_what_others_will_see_is_said_before_they_can(monkeypatch, capsys):
    assert describe_exposure("127.0.0.1", False, False) == []
    assert "over the network" in describe_exposure("0.0.0.0", False, True)[0]
    assert "public address" in " ".join(describe_exposure("127.0.0.1", True, True))
    assert "Nobody is asked for a password" in " ".join(describe_exposure("127.0.0.1", True, False))
    monkeypatch.setattr(serve, "start_app", lambda *_: print("started") or Stub())
    assert main(["app", "segmentation", "--host", "0.0.0.0"]) == 0
    said = capsys.readouterr().out
    assert said.index("over the network") < said.index("started") < said.index("http://stub")


class Stub:
    """Stands for a running app."""

    url = "http://stub"

    class blocks:
        share_url = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def wait(self):
        pass


def test_a_missing_model_is_said(monkeypatch, capsys):
    def refuse(name):
        raise ElfwError(f"{name} is not there")

    monkeypatch.setattr(serve, "load_model", refuse)
    assert main(["app"]) == 1
    assert capsys.readouterr().err == "elfw: efficient_attributes is not there\n"


def test_examples_are_four_rendered_faces_and_a_portrait():
    faces = read_examples()
    assert len(faces) == 5 and all(face.mode == "RGB" for face in faces.values())
    assert faces["Grace Hopper"].size == (512, 600)


# Two hundred uploads: each an answer or a friendly refusal, none a traceback, and memory stays flat.


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_bomb(side: int) -> bytes:
    """Return a PNG that promises side x side pixels, all of them there, packed to some kilobytes."""
    rows = zlib.compressobj(9)
    line = bytes(1 + side)
    body = b"".join(rows.compress(line) for _ in range(side)) + rows.flush()
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def text_bomb() -> bytes:
    """Return a small PNG whose comment unpacks to 200 MB."""
    png = encode(FACE, "PNG")
    return png[:33] + chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(200_000_000), 9)) + png[33:]


def iptc_around(content: bytes) -> bytes:
    """Return an IPTC file whose picture is another file, which Pillow would open whatever it is."""

    def field(record: int, number: int, data: bytes) -> bytes:
        return struct.pack(">BBBH", 0x1C, record, number, len(data)) + data

    size = field(3, 20, struct.pack(">H", 64)) + field(3, 30, struct.pack(">H", 64))
    return field(3, 60, b"\1\0") + size + field(3, 120, b"\5") + field(8, 10, content)


def kinds_of_uploads() -> dict[str, bytes]:
    """Return uploads of all kinds, by what they are."""
    deep = Image.fromarray((np.asarray(FACE.convert("L")).astype(np.uint16)) * 257)
    turned = Image.Exif()
    turned[0x0112] = 6
    jpeg, png = encode(FACE, "JPEG", quality=95), encode(FACE, "PNG")
    frames = {"save_all": True, "append_images": [FACE.rotate(90), FACE.rotate(180)]}
    return {
        "jpeg": jpeg,
        "png": png,
        "webp": encode(FACE, "WEBP"),
        "bmp": encode(FACE, "BMP"),
        "tiff": encode(FACE, "TIFF"),
        "gif": encode(FACE, "GIF"),
        "animated gif": encode(FACE, "GIF", **frames),
        "animated webp": encode(FACE, "WEBP", **frames),
        "animated png": encode(FACE, "PNG", **frames),
        "a phone's mpo": encode(FACE, "MPO", **frames),
        "jpeg 2000": encode(FACE, "JPEG2000"),
        "16-bit": encode(deep, "PNG"),
        "cmyk": encode(FACE.convert("CMYK"), "JPEG"),
        "grayscale": encode(FACE.convert("L"), "JPEG"),
        "palette": encode(FACE.convert("P"), "PNG"),
        "transparent": encode(FACE.convert("RGBA"), "PNG"),
        "exif rotation": encode(FACE, "JPEG", exif=turned),
        "long and thin": encode(FACE.resize((3000, 20)), "PNG"),
        "1 x 1": encode(FACE.resize((1, 1)), "PNG"),
        "truncated jpeg": jpeg[: len(jpeg) // 2],
        "truncated png": png[: len(png) // 2],
        "renamed text": b"I am a portrait, believe me.",
        "empty": b"",
        "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
        "html": b"<html><script>alert(1)</script></html>",
        "eps": EPS,
        "ppm": encode(FACE, "PPM"),
        "floats": encode(Image.fromarray(np.asarray(FACE.convert("L"), np.float32) / 255), "TIFF"),
        "heic": b"\0\0\0\x18ftypheic" + bytes(300),
        "icon": encode(FACE.resize((64, 64)), "ICO"),
        "another file in iptc": iptc_around(EPS),
        "12 bits in 16": encode(Image.fromarray(np.asarray(FACE.convert("L")).astype(np.uint16) * 16), "PNG"),
        "20,000 x 20,000": png_bomb(20_000),
        "7,200 x 7,200": png_bomb(7_200),
        "bomb in a comment": text_bomb(),
        "zip": b"PK\x03\x04" + bytes(200),
        "exif gone wrong": jpeg[:2] + b"\xff\xe1\x00\x10Exif\0\0II*\0\xff\xff\xff\xff" + jpeg[2:],
    }


ANSWERED = [
    "jpeg",
    "png",
    "webp",
    "bmp",
    "tiff",
    "gif",
    "animated gif",
    "animated webp",
    "animated png",
    "16-bit",
]
ANSWERED += ["cmyk", "grayscale", "palette", "transparent", "exif rotation", "long and thin"]
ANSWERED += ["a phone's mpo", "jpeg 2000", "ppm", "floats"]
REFUSED = ["1 x 1", "truncated jpeg", "truncated png", "renamed text", "empty", "svg", "html", "eps"]
REFUSED += [
    "20,000 x 20,000",
    "7,200 x 7,200",
    "zip",
    "heic",
    "icon",
    "another file in iptc",
    "12 bits in 16",
]


def damage(content: bytes, chance: random.Random) -> bytes:
    """Return content with some of its bytes changed, or a piece taken out."""
    spoilt = bytearray(content)
    for _ in range(chance.randint(1, 20)):
        spoilt[chance.randrange(len(spoilt))] = chance.randrange(256)
    if chance.random() < 0.3:
        del spoilt[chance.randrange(len(spoilt)) :]
    return bytes(spoilt)


def make_uploads(count: int = 200) -> list[tuple[str, bytes]]:
    """Return uploads by what they are: all kinds, then damaged ones."""
    chance, kinds = random.Random(0), kinds_of_uploads()
    made = list(kinds.items())
    while len(made) < count:
        name = chance.choice(ANSWERED)
        made.append((f"damaged {name}", damage(kinds[name], chance)))
    return made


def resident_megabytes() -> float:
    """Return how much memory this process holds."""
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def ask_for_outcome(client: httpx.Client, number: int, content: bytes) -> str:
    """Send an upload to one of the apps; return "answer", or the words of the refusal."""
    try:
        ask_app(client, ("attributes", "segmentation")[number % 2], (f"face{number}.jpg", content))
    except ElfwError as error:
        return str(error)
    return "answer"


def test_two_hundred_uploads_of_all_kinds(app, client, capfd):
    capfd.readouterr()
    sent = make_uploads()
    outcomes, memory = [], []
    for number, (_, content) in enumerate(sent):
        outcomes.append(ask_for_outcome(client, number, content))
        if Path("/proc/self/statm").exists():
            memory.append(resident_megabytes())
    by_kind = {name: outcome for (name, _), outcome in zip(sent, outcomes, strict=True)}
    assert [name for name in ANSWERED if by_kind[name] != "answer"] == []
    assert [name for name in REFUSED if by_kind[name] == "answer"] == []
    assert "a photo in HEIC, as iPhones store photos" in by_kind["heic"]
    refusals = {outcome for outcome in outcomes if outcome != "answer"}
    unfriendly = [text for text in refusals if "does not say why" in text or "/" in text or len(text) > 160]
    assert unfriendly == []
    said = capfd.readouterr()
    assert "Traceback" not in said.out + said.err
    assert files_in(app) == []
    if memory:
        assert memory[-1] - memory[len(memory) // 3] < 100


@pytest.mark.parametrize("content", [EPS, iptc_around(EPS)])
def test_a_format_that_runs_other_programs_is_never_opened(tmp_path, monkeypatch, content):
    (tmp_path / "face.jpg").write_bytes(content)
    monkeypatch.setattr(EpsImagePlugin.EpsImageFile, "_open", lambda _: pytest.fail("it is opened"))
    with pytest.raises(DataError, match="cannot be read as an image"):
        read_image(tmp_path / "face.jpg")


def test_a_photo_without_a_face_says_so_in_both_apps(app, client, monkeypatch):
    monkeypatch.setattr(predict, "find_faces", lambda image: [])
    by_network = ask_app(client, "attributes", ("sky.png", encode(FACE, "PNG")))
    for answer in (*by_network.values(), ask_app(client, "segmentation", ("sky.gif", encode(FACE, "GIF")))):
        assert answer["remarks"] == [predict.NO_FACE] and answer["faces"] == []
    models = make_models("mini_network", "efficient_unet")
    unet = models.pop("efficient_unet")
    pages = (
        show_attributes(models, FACE, answer_attributes(models, FACE, ["read so"])),
        show_segmentation(FACE, answer_segmentation(unet, FACE, ["read so"])),
    )
    for page in pages:
        assert page.count('class="remark"') == 2
        assert "<h2>No face found</h2>" in page and "No face was found" in page and "Read so." in page
        assert not any(f"<h2>{attribute}" in page for attribute in ATTRIBUTES)
    monkeypatch.undo()
    assert answer_segmentation(unet, FACE)["remarks"] == []
    moving = encode(FACE, "GIF", save_all=True, append_images=[FACE.rotate(90)])
    (remark,) = ask_app(client, "segmentation", ("moving.gif", moving))["remarks"]
    assert "holds several pictures" in remark


def test_several_faces_are_numbered_in_order_and_each_has_its_answer(client, found):
    photo = ("two.png", encode(FACE.resize((300, 200)), "PNG"))
    found += [Frame(80, 100, 150, 10), Frame(230, 100, 100)]
    try:
        by_network, masked = (ask_app(client, app, photo) for app in ("attributes", "segmentation"))
        for answer in (*by_network.values(), masked):
            assert [face["frame"]["side"] for face in answer["faces"]] == [150, 100]
        models = make_models("mini_network", "efficient_unet")
        unet, image = models.pop("efficient_unet"), FACE.resize((300, 200))
        pages = [
            show_attributes(models, image, answer_attributes(models, image)),
            show_segmentation(image, answer_segmentation(unet, image)),
        ]
    finally:
        found.clear()
    for page in pages:
        assert re.search(r"<h2>1: (hair|spectacles|cap), 2: (hair|spectacles|cap)</h2>", page)
        assert "Face 1: " in page and "Face 2: " in page
    assert pages[0].count('class="bars"') == 2


def test_outlines_and_numbers_lie_on_the_frames():
    plain, faces = (
        Image.new("RGB", (300, 200), "teal"),
        [{"frame": {"x": 80, "y": 100, "side": 150, "tilt": 0}}],
    )
    assert number_faces(plain, faces) is plain
    faces.append({"frame": {"x": 230, "y": 100, "side": 80, "tilt": 45}})
    drawn = np.asarray(number_faces(plain, faces))
    assert (np.asarray(plain) == np.asarray(Image.new("RGB", (300, 200), "teal"))).all()
    assert (drawn[60:140, 5] == 255).all() and (drawn[100, 155] == 255).all()
    # The second frame stands on a corner.
    assert (drawn[100, 230 - 56] == 255).all()
    assert (drawn[100, 60:100] == drawn[0, 299]).all()


def test_the_mask_over_the_photo_has_the_legends_colours_and_the_file_elfws():
    page = show_segmentation(FACE, answer_segmentation(make_models("efficient_unet")["efficient_unet"], FACE))
    pictures = [base64.b64decode(content) for content in re.findall(r"data:image/png;base64,([^\"]+)", page)]
    cover, download = (Image.open(io.BytesIO(content)) for content in pictures)
    assert cover.getpalette()[:21] == DISPLAY_COLOURS.flatten().tolist()
    assert download.getpalette()[:21] == PALETTE.flatten().tolist()
    shown = re.findall(r"background:rgb\((\d+), (\d+), (\d+)\)", page)
    assert [list(map(int, colour)) for colour in shown] == DISPLAY_COLOURS.tolist()
