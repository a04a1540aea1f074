"""Base64 as tools write it, in JSON, in forms and as a whole body, compared with the same image sent as it is."""

import base64
import json
from urllib.parse import quote

import numpy as np
import pytest
from starlette.testclient import TestClient

from service.codec import write_npy
from service.errors import InvalidImage
from service.http.base64_text import decode_bytes, decode_text
from tests.conftest import digit, png
from tests.support.compatibility import accepts, refuses
from tests.support.tiny_models import SIDE

JSON, NPY = "application/json", "application/x-npy"
RNG = np.random.default_rng(3)
RAW = png(RNG.integers(0, 256, (SIDE * 4, SIDE * 4, 3), np.uint8))  # long enough for every letter of the alphabet
IMAGE = RAW + bytes(-(len(RAW) - 1) % 3)  # base64 ends in two characters of padding
TEXT = base64.b64encode(IMAGE).decode()
SAFE = base64.urlsafe_b64encode(IMAGE).decode()
LINES = [TEXT[start : start + 76] for start in range(0, len(TEXT), 76)]
assert TEXT.endswith("==")
assert {"+", "/"} <= set(TEXT)

SPELLINGS = {
    "plain": TEXT,
    "MIME: CR LF after 76 characters": "\r\n".join(LINES) + "\r\n",
    "PEM: LF after 64 characters": "\n".join(TEXT[start : start + 64] for start in range(0, len(TEXT), 64)),
    "CR alone": "\r".join(LINES),
    "blanks": " ".join(LINES),
    "tabs": "\t".join(LINES),
    "indented": "\n    ".join(["", *LINES]),
    "form feed and NUL": f"{TEXT[:8]}\f{TEXT[8:]}\0",
    "URL-safe": SAFE,
    "URL-safe, no padding": SAFE.rstrip("="),
    "no padding": TEXT.rstrip("="),
    "half the padding": TEXT[:-1],
    "too much padding": TEXT + "==",
    "both alphabets": TEXT[:800].replace("+", "-") + TEXT[800:].replace("/", "_"),
    "both alphabets in lines": "\r\n".join(LINES[:5]).replace("/", "_") + "\n" + "".join(LINES[5:]).rstrip("="),
    "percent-encoded": quote(TEXT, safe=""),
    "percent-encoded padding": TEXT.replace("=", "%3D"),
    "quoted once more": f'"{TEXT}"',
    "byte order mark": f"\ufeff{TEXT}",
    "data URI": f"data:image/png;base64,{TEXT}",
    "data URI in capitals": f"DATA:IMAGE/PNG;BASE64,{TEXT}",
    "data URI with parameters": f"data:image/png;charset=utf-8;name=x.png;base64,{TEXT}",
    "data URI with a quoted comma": f'data:image/png;name="a,b;base64,.png";base64,{TEXT}',
    "data URI with blanks": f"  data: image/png ; base64 , {TEXT}",
    "data URI without a type": f"data:;base64,{TEXT}",
    "data URI of another type": f"data:application/octet-stream;base64,{TEXT}",
    "data URI with lines": "data:image/png;base64,\r\n" + "\r\n".join(LINES),
    "data URI, URL-safe without padding": f"data:image/png;base64,{SAFE.rstrip('=')}",
    "data URI, percent-encoded base64": f"data:image/png;base64,{quote(TEXT, safe='')}",
    "data URI without base64": f"data:image/png,{quote(IMAGE)}",
    "data URI without base64, lower-case escapes": f"data:,{quote(IMAGE).swapcase()}".replace(
        quote(IMAGE).swapcase(), "".join(f"%{byte:02x}" for byte in IMAGE)
    ),
}


@accepts(12, "base64 as tools write it", oracle="the bytes before encoding", cases="{name}")
@pytest.mark.parametrize("name", SPELLINGS)
def test_spelling_of_base64_is_decoded(name: str) -> None:
    assert decode_text(SPELLINGS[name]) == IMAGE


REFUSED = {
    "a character outside the alphabet": (TEXT[:70] + "!" + TEXT[70:], "character 71 is outside the alphabet"),
    "the same after lines": ("\r\n".join(LINES) + "#", "is outside the alphabet"),
    "padding in the middle": (TEXT[:40] + "=" + TEXT[40:], "padding within the text, at character 41"),
    "cut off": (TEXT[:41], "the text is cut off"),
    "plus signs that became blanks": (TEXT.replace("+", " "), "plus signs became blanks"),
    "a Python bytes object": (f"b'{TEXT}'", "Python bytes"),
    "an address": ("https://example.org/a.png", "nothing is fetched"),
    "an object URL of a browser": ("blob:https://example.org/1", "nothing is fetched"),
    "a JavaScript object": ("[object File]", "JavaScript"),
    "a data URI without its scheme": (f"image/png;base64,{TEXT}", "begins with data:"),
    "a data URI without content": ("data:image/png;base64", "must have the form"),
    "a data URI of letters": ("data:image/png,é", "percent-encoded"),
    "full-width letters": ("ｉＶＢＯ", "outside the alphabet"),
    "half a surrogate": ("\ud800", "no text"),
}


@refuses(12, "text that is no base64", because="the reason is stated", cases="{name}")
@pytest.mark.parametrize("name", REFUSED)
def test_refused_text_is_answered_with_the_reason(name: str) -> None:
    text, reason = REFUSED[name]
    with pytest.raises(InvalidImage, match=reason) as raised:
        decode_text(text)
    assert len(raised.value.detail) < 200


@pytest.mark.parametrize("length", [(1 << 20) - 1, 1 << 20, (1 << 20) + 1, (3 << 20) + 2])
def test_long_texts_are_decoded_across_chunks(length: int) -> None:
    content = RNG.bytes(length)
    assert decode_bytes(base64.encodebytes(content)) == content
    assert decode_bytes(b"data:," + quote(content[: 1 << 18]).encode()) == content[: 1 << 18]


@accepts(12, "the same in a JSON body", oracle="the response to the plain image", cases="{name}")
@pytest.mark.parametrize("name", SPELLINGS)
def test_spelling_of_base64_is_answered_in_json(client: TestClient, name: str) -> None:
    expected = client.post("/denoise?format=npy", content=IMAGE)
    answer = client.post("/denoise?format=npy", json={"images": [SPELLINGS[name]]})
    assert answer.status_code == 200
    assert answer.content == expected.content


def test_one_text_that_is_refused_does_not_fail_the_others(client: TestClient) -> None:
    results = client.post("/denoise", json={"images": [TEXT, TEXT[:41], SAFE]}).json()["results"]
    assert ["error" in result for result in results] == [False, True, False]


WHOLE = {
    "base64": TEXT.encode(),
    "base64 in lines": base64.encodebytes(IMAGE),
    "URL-safe without padding": SAFE.rstrip("=").encode(),
    "JSON string": json.dumps(TEXT).encode(),
    "data URI of a canvas": f"data:image/png;base64,{TEXT}".encode(),
    "byte order mark": b"\xef\xbb\xbf" + TEXT.encode(),
}


@accepts(
    12,
    "a body that a gateway encoded as a whole",
    oracle="the response to the plain image",
    cases="{name}, type {kind}",
)
@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("kind", ["image/png", "application/octet-stream", "", "text/plain"])
def test_body_that_is_base64_as_a_whole_is_decoded(client: TestClient, name: str, kind: str) -> None:
    expected = client.post("/denoise?format=npy", content=IMAGE)
    answer = client.post("/denoise?format=npy", content=WHOLE[name], headers={"content-type": kind})
    assert (answer.status_code, answer.content == expected.content) == (200, True), answer.text[:300]


@accepts(12, "an encoded body of every format", oracle="the response to the plain image", cases="{kind}")
@pytest.mark.parametrize("kind", ["JPEG", "GIF", "WEBP"])
def test_base64_of_every_format_is_recognized(client: TestClient, kind: str) -> None:
    image = png(digit(), kind)
    expected = client.post("/denoise?format=npy", content=image)
    answer = client.post("/denoise?format=npy", content=base64.b64encode(image), headers={"content-type": "text/plain"})
    assert answer.content == expected.content


@accepts(12, "encoded arrays, JSON and forms", oracle="the response to the plain body")
def test_gateway_encodes_arrays_json_and_forms_too(client: TestClient) -> None:
    array = write_npy(digit()[None])
    form = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n' + IMAGE + b"\r\n--b--\r\n"
    document = json.dumps({"images": [TEXT]}).encode()
    for body, kind in ((array, NPY), (form, "multipart/form-data; boundary=b"), (document, JSON)):
        expected, answer = (
            client.post("/denoise?format=npy", content=content, headers={"content-type": kind})
            for content in (body, base64.b64encode(body))
        )
        assert (answer.status_code, answer.content) == (200, expected.content), answer.text


JPEG = png(digit(), "JPEG")
DAMAGED: dict[str, tuple[bytes, str]] = {
    "decoded as UTF-8": (IMAGE.decode("utf-8", "replace").encode(), "decoded as text"),
    "JPEG decoded as UTF-8": (JPEG.decode("utf-8", "replace").encode(), "decoded as text"),
    "decoded as Latin-1": (IMAGE.decode("latin-1").encode(), "decoded as text"),
    "JPEG decoded as Latin-1": (JPEG.decode("latin-1").encode(), "decoded as text"),
    "decoded as ASCII": (IMAGE.decode("ascii", "replace").encode("ascii", "replace"), "decoded as text"),
    "seven bits": (bytes(byte & 0x7F for byte in IMAGE), "decoded as text"),
    "CR LF became LF": (IMAGE.replace(b"\r\n", b"\n"), "line ends"),
    "LF became CR LF": (IMAGE.replace(b"\n", b"\r\n"), "line ends"),
    "no line ends": (IMAGE.replace(b"\n", b"").replace(b"\r", b""), "line ends"),
    "hexadecimal": (IMAGE.hex().encode(), "hexadecimal"),
    "Python bytes": (repr(IMAGE).encode(), "Python bytes"),
    "gzip": (b"\x1f\x8b\x08" + bytes(9), "the data are an archive; send the images in it"),
    "a form under another type": (b'--b\r\nContent-Disposition: form-data; name="image"\r\n\r\n', "it is a form"),
    "JSON under another type": (b'{"images": ["aa"]}', "application/json"),
    "an error page": (b"<!DOCTYPE html><html></html>", "the data are an HTML page, not an image"),
    "the name of a file": (b"@docs/noisy.png", "name of a file"),
    "an address": (b"https://example.org/a.png", "address"),
    "base64 of no image": (base64.b64encode(b"hello" * 20), "base64 text, but not of a known image"),
}


@refuses(12, "binary bodies that a gateway damaged", because="the damage is named", cases="{name}")
@pytest.mark.parametrize("name", DAMAGED)
def test_damage_on_the_way_is_named(client: TestClient, name: str) -> None:
    body, cause = DAMAGED[name]
    answer = client.post("/denoise", content=body, headers={"content-type": "image/png"})
    assert (answer.status_code, answer.json()["type"]) == (415, "/problems/unsupported-image")
    assert cause in answer.json()["detail"]


@refuses(12, "base64 that is cut off", because="the reason is stated")
def test_base64_that_is_cut_off_is_refused_with_the_reason(client: TestClient) -> None:
    answer = client.post("/denoise", content=TEXT[:4001], headers={"content-type": "image/png"})
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/invalid-image")
    assert "cut off" in answer.json()["detail"]


def test_file_that_lost_its_line_ends_is_explained(client: TestClient) -> None:
    """`curl -d @FILE` removes CR, LF and NUL; the JPEG signature has none of them."""
    body = JPEG.replace(b"\n", b"").replace(b"\r", b"").replace(b"\0", b"")
    answer = client.post("/denoise", content=body, headers={"content-type": "application/x-www-form-urlencoded"})
    assert answer.status_code == 422
    assert "--data-binary" in answer.json()["detail"]
