"""The HTML of the apps' answers, with photos and masks inside: none is a file on the server's disk."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from html import escape

from PIL import Image, ImageDraw, ImageOps

from elfw_helpers.data.labels import CAP_PER_MILLE, DISPLAY_COLOURS, PIXEL_CLASSES, SPECTACLES_PER_MILLE
from elfw_helpers.deployment.faces import Frame
from elfw_helpers.deployment.files import encode_picture
from elfw_helpers.models.hub import ModelCard
from elfw_helpers.utils.errors import DataError

# Longer side of a photo on the page, and that of an example's button, pixels.
SHOWN_SIDE, THUMBNAIL_SIDE = 800, 128
# What the classes are called on the page, where ELFW's own word would mislead.
SHOWN_AS = {"beard-mustache": "beard, moustache", "sunglasses": "eyewear", "wearable": "cap, headwear"}
WAITING = '<div class="waiting"><p>The answer appears here.</p></div>'


def shrink_to_page(image: Image.Image) -> Image.Image:
    """Return a photo no larger than the page needs."""
    small = image.copy()
    small.thumbnail((SHOWN_SIDE, SHOWN_SIDE))
    return small


def number_faces(image: Image.Image, faces: list[dict]) -> Image.Image:
    """Return a photo with the frames of its faces, by "frame", outlined and numbered; if several."""
    if len(faces) < 2:
        return image
    numbered, line = image.copy(), max(2, max(image.size) // 250)
    draw, size = ImageDraw.Draw(numbered), max(12, max(image.size) // 25)
    for number, face in enumerate(faces, 1):
        corners = list(map(tuple, Frame(**face["frame"]).corners()))
        for width, colour in ((3 * line, "black"), (line, "white")):
            draw.line([*corners, *corners[:2]], colour, width, joint="curve")
        inside = [
            min(max(place, 0), length - size) for place, length in zip(corners[0], image.size, strict=True)
        ]
        options = {"font_size": size, "stroke_width": line, "stroke_fill": "black"}
        draw.text((inside[0] + 2 * line, inside[1] + line), str(number), "white", **options)
    return numbered


def encode_data_url(picture: Image.Image, kind: str) -> str:
    """Return a data URL with a picture inside, as "JPEG" or "PNG"."""
    content = base64.b64encode(encode_picture(picture, kind)).decode()
    return f"data:image/{kind.lower()};base64,{content}"


def embed_picture(picture: Image.Image, kind: str, alt: str, css_class: str = "") -> str:
    """Return an <img> with a picture inside, as "JPEG" or "PNG"; `alt` says in words what it shows."""
    return f'<img class="{css_class}" alt="{escape(alt)}" src="{encode_data_url(picture, kind)}">'


def format_examples(faces: dict[str, Image.Image]) -> str:
    """Return a button for each example face, by its caption."""
    size = (THUMBNAIL_SIDE, THUMBNAIL_SIDE)
    buttons = "".join(
        f'<button type="button" data-caption="{escape(caption)}">'
        f"{embed_picture(ImageOps.fit(face, size), 'JPEG', '')}<span>{escape(caption)}</span></button>"
        for caption, face in faces.items()
    )
    note = '<p class="camera" role="status"></p>'
    return f'{note}<div class="examples"><p>or take one of these</p><div>{buttons}</div></div>'


def format_problem(error: DataError) -> str:
    """Return what is wrong with a photo, and what to do."""
    text = escape(describe_problem(error))
    return f'<div class="problem" role="alert"><h2>This photo gives no answer</h2><p>{text}</p></div>'


def describe_problem(error: DataError) -> str:
    """Return an error in words for a visitor, without paths of the server."""
    # Text in brackets may name the file's place on the server; a phone's format does not.
    found = error.found if "(it is a photo in" in error.found else error.found.partition(" (")[0]
    return f"{found[0].upper()}{found[1:]}. {error.fix}."


def format_remarks(remarks: Iterable[str]) -> str:
    """Return a paragraph for each remark on a photo."""
    return "".join(f'<p class="remark">{escape(remark[0].upper() + remark[1:])}.</p>' for remark in remarks)


def head_answer(faces: list[dict]) -> str:
    """Return the headline of an answer: the attribute of each face, the largest first."""
    if not faces:
        return "<h2>No face found</h2>"
    if len(faces) == 1:
        return f"<h2>{faces[0]['attribute']}</h2>"
    numbered = [f"{number}: {face['attribute']}" for number, face in enumerate(faces, 1)]
    return f"<h2>{', '.join(numbered)}</h2>"


def format_probabilities(probabilities: dict[str, float]) -> str:
    """Return the probabilities of the attributes as bars, the most probable one marked."""
    best = max(probabilities, key=probabilities.get)
    rows = "".join(
        f'<tr class="{"best" if name == best else ""}"><th scope="row">{name}</th>'
        f'<td class="bar"><span style="width:{100 * value:.1f}%"></span></td>'
        f'<td class="number">{100 * value:.1f} %</td></tr>'
        for name, value in probabilities.items()
    )
    return f'<table class="bars"><caption>Probabilities</caption><tbody>{rows}</tbody></table>'


def format_legend(fractions: dict[str, float]) -> str:
    """Return the classes with their colours and their shares of the square around the largest face."""
    rows = "".join(
        f'<tr class="{"" if fractions[name] else "absent"}"><th scope="row">'
        f'<span class="swatch" style="background:rgb{tuple(colour)}"></span>{SHOWN_AS.get(name, name)}</th>'
        f'<td class="number">{100 * fractions[name]:.1f} %</td></tr>'
        for name, colour in zip(PIXEL_CLASSES, DISPLAY_COLOURS.tolist(), strict=True)
    )
    caption = "Share of the square around the face"
    return f'<table class="legend"><caption>{caption}</caption><tbody>{rows}</tbody></table>'


def explain_rule(fractions: dict[str, float]) -> str:
    """Return why the rule of the course gives the attribute that it gives, by the shares of the classes."""
    cap, glasses = (1000 * fractions[name] for name in ("wearable", "sunglasses"))
    least_cap, least_glasses = f"{CAP_PER_MILLE / 10} %", f"{SPECTACLES_PER_MILLE / 10} %"
    covers = f"headwear covers {cap / 10:.1f} % of the square around the face, eyewear {glasses / 10:.1f} %"
    if cap > CAP_PER_MILLE:
        also = ", and a cap goes before spectacles" if glasses > SPECTACLES_PER_MILLE else ""
        return f"{covers}: more than {least_cap} of headwear is a cap{also}."
    if glasses > SPECTACLES_PER_MILLE:
        return f"{covers}: no cap, and more than {least_glasses} of eyewear is spectacles."
    return f"{covers}: too little for a cap ({least_cap}) or spectacles ({least_glasses})."


def format_card(title: str, card: ModelCard) -> str:
    """Return a model card as Markdown."""
    kind = "the class of every pixel" if card.task == "segment" else "one of three attributes"
    return f"""### {title}
- **Answers with** {kind}: {", ".join(card.classes)}
- **Sees** the face shrunk to {card.size} x {card.size} pixels
- **Trained on** {card.trained_on}
- **Not for** telling who somebody is, nor for guessing age, sex, origin or character

{card.notes}"""


def format_results(cards: dict[str, ModelCard]) -> str:
    """Return how well models do, by their names, as their cards say it."""
    lines = "".join(
        f"<p><strong>{name}</strong>: trained on {escape(card.trained_on)}. {escape(card.notes)}</p>"
        for name, card in cards.items()
    )
    return f'<div class="results">{lines}</div>'
