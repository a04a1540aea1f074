"""Forms as browsers and HTTP libraries send them: file fields are images, text fields are parameters."""

import base64
from collections.abc import Callable
from urllib.parse import quote, urlencode

import pytest
from starlette.testclient import TestClient

from service.http.forms import FILE_FIELDS
from service.http.parameters import parameter_names
from tests.conftest import Serve, digit, pixels, png
from tests.support.compatibility import accepts, refuses
from tests.support.tiny_models import SIDE

BOUNDARY = "x-1"
FORM = f"multipart/form-data; boundary={BOUNDARY}"
URLENCODED = "application/x-www-form-urlencoded"
IMAGE = png(digit())
TEXT = base64.b64encode(IMAGE).decode()
FILE = 'name="image"; filename="a.png"'


def part(disposition: str, content: bytes | str, *headers: str) -> bytes:
    """One part of a form. `disposition`: what follows `form-data;`."""
    lines = [f"--{BOUNDARY}", f"Content-Disposition: form-data; {disposition}", *headers, "", ""]
    body = content if isinstance(content, bytes) else content.encode()
    return "\r\n".join(lines).encode() + body + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def send(client: TestClient, body: bytes, kind: str = FORM, path: str = "/denoise") -> tuple[int, str]:
    """The status of a response, and the pixels of its first image or the detail of its problem."""
    answer = client.post(path, content=body, headers={"content-type": kind, "accept": "application/json"})
    if answer.status_code != 200:
        assert answer.headers["content-type"] == "application/problem+json"
        return answer.status_code, answer.json()["detail"]
    result = answer.json()["results"][0]
    if "error" in result:
        return answer.status_code, result["error"]["detail"]
    return answer.status_code, pixels(base64.b64decode(result["image"])).tobytes().hex()


EXPECTED = (200, (255 - digit()).tobytes().hex())


@accepts(13, "names of file fields", oracle="the response to the plain image", cases="{field}{index}")
@pytest.mark.parametrize("field", FILE_FIELDS)
@pytest.mark.parametrize("index", ["", "[]", "[0]"])
def test_file_field_is_an_image(client: TestClient, field: str, index: str) -> None:
    assert send(client, form(part(f'name="{field}{index}"; filename="a.png"', IMAGE))) == EXPECTED


ACCEPTED_PARTS: dict[str, bytes] = {
    "a browser's": part(FILE, IMAGE, "Content-Type: image/png"),
    "names without quotes, as .NET sends them": part("name=image; filename=a.png; filename*=utf-8''a.png", IMAGE),
    "file name first": part('filename="a.png"; name="image"', IMAGE),
    "file name in UTF-8": part('name="image"; filename="Földer/图.png"', IMAGE),
    "file name in Latin-1": part(FILE, IMAGE).replace(b"a.png", b"\xfc.png"),
    "file name of RFC 5987": part("name=\"image\"; filename*=UTF-8''%E5%9B%BE.png", IMAGE),
    "file name of RFC 2231 in pieces": part("name=\"image\"; filename*0*=UTF-8''%E5%9B; filename*1*=%BE.png", IMAGE),
    "file name with a quote, escaped by a browser": part('name="image"; filename="a%22b.png"', IMAGE),
    "file name with a backslash": part('name="image"; filename="C:\\\\a\\".png"', IMAGE),
    "path as file name": part('name="image"; filename="../../etc/passwd"', IMAGE),
    "no file name": part('name="image"', IMAGE),
    "empty file name": part('name="image"; filename=""', IMAGE),
    "charset of a file": part(FILE, IMAGE, "Content-Type: image/png; charset=binary"),
    "any type of a file": part(FILE, IMAGE, "Content-Type: application/x-unknown"),
    "binary transfer encoding": part(FILE, IMAGE, "Content-Transfer-Encoding: binary"),
    "base64 transfer encoding": part(FILE, base64.encodebytes(IMAGE), "Content-Transfer-Encoding: base64"),
    "base64 as text": part('name="image"', TEXT),
    "base64 in a file": part(FILE, base64.encodebytes(IMAGE)),
    "data URI": part('name="image"', f"data:image/png;base64,{TEXT}"),
    "length of the part": part(FILE, IMAGE, f"Content-Length: {len(IMAGE)}"),
    "header names in lower case": part(FILE, IMAGE).replace(b"Content-Disposition", b"content-disposition"),
    "leading line end": b"\r\n" + part(FILE, IMAGE),
}


@accepts(13, "parts as clients write them", oracle="the response to the plain image", cases="{name}")
@pytest.mark.parametrize("name", ACCEPTED_PARTS)
def test_part_as_clients_write_it_is_an_image(client: TestClient, name: str) -> None:
    assert send(client, form(ACCEPTED_PARTS[name])) == EXPECTED


@pytest.mark.parametrize(
    "kind",
    [f'multipart/form-data; boundary="{BOUNDARY}"', f"Multipart/Form-Data; charset=utf-8; Boundary={BOUNDARY}"],
)
def test_content_type_as_clients_write_it_is_understood(client: TestClient, kind: str) -> None:
    assert send(client, form(part(FILE, IMAGE)), kind) == EXPECTED


@accepts(13, "a file input of a browser that was left empty", oracle="the response to the rest")
def test_file_input_that_was_left_empty_is_passed_over(client: TestClient) -> None:
    empty = part('name="images"; filename=""', b"", "Content-Type: application/octet-stream")
    assert send(client, form(empty, part(FILE, IMAGE), empty)) == EXPECTED
    status, detail = send(client, form(empty))
    assert (status, "no file was chosen" in detail) == (422, True)


def test_empty_file_is_named_as_empty(client: TestClient) -> None:
    assert send(client, form(part(FILE, b""))) == (422, "the image is empty")


def test_line_ends_around_the_form_are_ignored(client: TestClient) -> None:
    assert send(client, b"preamble\r\n" + form(part(FILE, IMAGE)) + b"\r\n\r\n") == EXPECTED
    padding = (1 << 20) - len(form(part(FILE, IMAGE), part(FILE, b"")))
    whole = form(part(FILE, IMAGE), part(FILE, b"x" * padding))  # ends with the chunk that is parsed at once
    assert len(whole) == 1 << 20
    assert send(client, whole + b"\r\n") == EXPECTED


VALUES: dict[str, tuple[str, str]] = {
    "model": ("photos", "model=photos"),
    "version": ("1", "version=1"),
    "format": ("jpg", "format=jpeg"),
    "strength": (" 0.5\r\n", "strength=0.5"),
    "grayscale": ("on", "grayscale=true"),
    "metadata": ("Strip", "metadata=strip"),
    "truncated": ("ALLOW", "truncated=allow"),
    "quality": (" 40", "quality=40"),
}


@accepts(
    13, "text fields are parameters, before and after the file", oracle="the response to the query", cases="{name}"
)
@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("first", [True, False], ids=["before the file", "after the file"])
def test_text_field_is_a_parameter_as_in_the_query(client: TestClient, name: str, first: bool) -> None:
    """The colours differ between the models, strengths and formats, so a field that is ignored changes the answer."""
    value, query = VALUES[name]
    image = part(FILE, png(digit().repeat(3, 2)))
    field = part(f'name="{name}"', value)
    model = "" if name == "model" else "model=photos&"
    body = form(field, image) if first else form(image, field)
    accept = {} if name == "format" else {"accept": "image/jpeg" if name == "quality" else "image/png"}
    answers = [
        client.post(path, content=content, headers={"content-type": FORM, **accept})
        for path, content in ((f"/denoise?{model}", body), (f"/denoise?{model}{query}", form(image)))
    ]
    assert [answer.status_code for answer in answers] == [200, 200], answers[0].text
    assert answers[0].content == answers[1].content
    assert answers[0].headers["content-type"] == answers[1].headers["content-type"]
    assert answers[0].headers["x-model"] == answers[1].headers["x-model"] == "photos"


@accepts(13, "every parameter as a text field", oracle="the OpenAPI document")
def test_every_parameter_may_be_a_text_field() -> None:
    assert set(parameter_names("denoise")) - {"sigma"} <= set(VALUES)  # test_strength.py has the model for sigma


def test_model_of_a_text_field_is_not_the_default(client: TestClient) -> None:
    answer = client.post("/denoise", files={"image": IMAGE}, data={"model": "photos"}, headers={"accept": "image/png"})
    assert answer.headers["x-model"] == "photos"
    assert client.post("/denoise", files={"image": IMAGE}, data={"model": "nobody"}).status_code == 404
    assert client.post("/denoise", files={"image": IMAGE}, data={"version": "9"}).status_code == 404


def test_default_model_need_not_exist_if_the_form_names_one(serve: Serve) -> None:
    client = serve(default_denoise="")
    assert client.post("/denoise", files={"image": IMAGE}).status_code == 400
    assert client.post("/denoise", files={"image": IMAGE}, data={"model": "digits"}).status_code == 200


TEXT_PARTS: dict[str, bytes] = {
    "a charset": part('name="model"', "digits", "Content-Type: text/plain; charset=UTF-8"),
    "a quoted charset": part('name="model"', "digits", 'Content-Type: text/plain; charset="us-ascii"'),
    "UTF-16": part('name="model"', "digits".encode("utf-16"), "Content-Type: text/plain; charset=utf-16"),
    "a file name, as Python's requests adds it": part('name="model"; filename="model"', "digits"),
    "blanks": part('name="model"', " digits\r\n"),
    "_charset_ of a browser": part('name="_charset_"', "UTF-8"),
    "an input that was left empty": part('name="strength"', ""),
}


@accepts(13, "text parts as clients write them", oracle="the response to the query", cases="{name}")
@pytest.mark.parametrize("name", TEXT_PARTS)
def test_text_part_as_clients_write_it_is_understood(client: TestClient, name: str) -> None:
    assert send(client, form(TEXT_PARTS[name], part(FILE, IMAGE))) == EXPECTED


@accepts(13, "the same value in query and form", oracle="status of the response")
def test_same_value_in_query_and_form_is_accepted(client: TestClient) -> None:
    body = form(part('name="grayscale"', "True"), part('name="model"', "digits"), part(FILE, IMAGE))
    assert send(client, body, path="/denoise?grayscale=1&model=digits") == EXPECTED


@refuses(13, "different values in query and form", because="400 names the parameter", cases="{name}")
@pytest.mark.parametrize(
    ("name", "query", "value"),
    [
        ("model", "photos", "digits"),
        ("strength", "1", "0.5"),
        ("grayscale", "true", "no"),
        ("format", "png", "jpg"),
        ("metadata", "keep", "strip"),
        ("version", "1", "2"),
    ],
)
def test_different_values_in_query_and_form_are_named(client: TestClient, name: str, query: str, value: str) -> None:
    status, detail = send(
        client, form(part(f'name="{name}"', value), part(FILE, IMAGE)), path=f"/denoise?{name}={query}"
    )
    assert (status, detail.startswith(f"{name}: the query and the form")) == (400, True)


@refuses(13, "several values of a parameter", because="400 names the parameter")
def test_several_values_in_a_form_are_named(client: TestClient) -> None:
    status, detail = send(client, form(part('name="model"', "a"), part('name="model"', "b"), part(FILE, IMAGE)))
    assert (status, detail) == (400, "model: the form has several values")


REFUSED: dict[str, tuple[bytes, int, str]] = {
    "unknown file field": (form(part('name="photo"; filename="a"', IMAGE)), 400, "unknown form field photo"),
    "unknown text field": (
        form(part('name="modle"', "a"), part(FILE, IMAGE)),
        400,
        "form field modle, did you mean model?",
    ),
    "near the name of a file field": (form(part('name="imgae"', IMAGE)), 400, "did you mean image?"),
    "field without a name": (form(part("filename=a", IMAGE)), 400, "unknown form field"),
    "name that is not repeated": (form(part('name="<script>"', IMAGE)), 400, "unknown form field;"),
    "invalid value": (form(part('name="strength"', "3"), part(FILE, IMAGE)), 400, "strength: "),
    "value of another charset": (
        form(part('name="model"', b"\xff\xff", "Content-Type: text/plain; charset=x-none"), part(FILE, IMAGE)),
        400,
        "model: the form field is not text",
    ),
    "long value": (form(part('name="model"', "a" * 2000), part(FILE, IMAGE)), 400, "model: the form field has more"),
    "no file": (form(part('name="model"', "digits")), 422, "the form has no file; /denoise takes the file field image"),
    "nothing": (form(), 422, "the form has no file"),
    "quoted-printable": (
        form(part(FILE, IMAGE, "Content-Transfer-Encoding: quoted-printable")),
        422,
        "quoted-printable is not supported",
    ),
    "text that is no image": (form(part('name="image"', "C:\\fakepath\\a.png")), 415, "not an image"),
    "lines that end in LF": (form(part(FILE, b"x")).replace(b"\r\n", b"\n"), 400, "CR LF"),
    "another boundary": (form(part(FILE, IMAGE)).replace(b"--x-1", b"--y-1"), 400, "boundary of the Content-Type"),
    "no end": (part(FILE, IMAGE), 400, "truncated"),
}


@refuses(13, "malformed forms", because="the reason is stated", cases="{name}")
@pytest.mark.parametrize("name", REFUSED)
def test_refused_form_is_answered_with_the_reason(client: TestClient, name: str) -> None:
    body, expected_status, reason = REFUSED[name]
    status, detail = send(client, body)
    assert (status, reason in detail) == (expected_status, True), detail


@refuses(13, "an unknown field", because="400 names it and the fields that are expected")
def test_unknown_field_is_answered_with_all_known_ones(client: TestClient) -> None:
    _, detail = send(client, form(part('name="photo"; filename="a"', IMAGE)))
    assert all(name in detail for name in (*FILE_FIELDS, *parameter_names("denoise")))
    _, detail = send(client, form(part('name="strength"', "1"), part(FILE, IMAGE)), path="/encode")
    assert "unknown form field strength" in detail


def test_missing_boundary_is_explained(client: TestClient) -> None:
    for kind in ("multipart/form-data", "multipart/form-data; boundary="):
        status, detail = send(client, form(part(FILE, IMAGE)), kind)
        assert (status, "has no boundary" in detail) == (400, True)


@pytest.mark.parametrize("path", ["/decode", "/encode?model=points"])
def test_form_for_numbers_is_refused(client: TestClient, path: str) -> None:
    status, detail = send(client, form(part(FILE, IMAGE)), path=path)
    assert (status, detail) == (415, "send application/json or application/x-npy")


URLENCODED_BODIES: dict[str, Callable[[], str]] = {
    "base64": lambda: urlencode({"image": TEXT}),
    "base64 with a parameter": lambda: urlencode({"model": "digits", "image": TEXT}),
    "base64 that is not percent-encoded": lambda: f"image={TEXT}",
    "base64 in lines": lambda: urlencode({"image": base64.encodebytes(IMAGE).decode()}),
    "data URI": lambda: urlencode({"image": f"data:image/png;base64,{TEXT}"}),
    "array as PHP and jQuery write it": lambda: urlencode({"image[]": TEXT}),
    "array with an index": lambda: f"images[0]={quote(TEXT, safe='')}",
    "binary, percent-encoded": lambda: f"image={quote(b'data:,')}{quote(quote(IMAGE))}",
}


@accepts(13, "URL-encoded forms", oracle="the response to the plain image", cases="{name}")
@pytest.mark.parametrize("name", URLENCODED_BODIES)
def test_urlencoded_form_is_understood(client: TestClient, name: str) -> None:
    assert send(client, URLENCODED_BODIES[name]().encode(), URLENCODED) == EXPECTED
    assert send(client, URLENCODED_BODIES[name]().encode(), f"{URLENCODED}; charset=UTF-8") == EXPECTED


def test_urlencoded_parameters_are_obeyed(client: TestClient) -> None:
    body = urlencode({"image": TEXT, "model": "photos"}).encode()
    answer = client.post("/denoise", content=body, headers={"content-type": URLENCODED, "accept": "image/png"})
    assert answer.headers["x-model"] == "photos"
    status, detail = send(client, urlencode({"image": TEXT, "modle": "a"}).encode(), URLENCODED)
    assert (status, "did you mean model?" in detail) == (400, True)


def test_urlencoded_form_without_an_image_is_refused(client: TestClient) -> None:
    assert send(client, b"model=digits", URLENCODED)[0] == 422
    status, detail = send(client, b"image=@docs/noisy.png", URLENCODED)
    assert (status, "name of a file" in detail) == (422, True)
    assert send(client, b"image=" + b"&image=" * 5000, URLENCODED)[0] in (400, 413)


def test_curls_default_type_is_still_an_image(client: TestClient) -> None:
    assert client.post("/denoise", content=IMAGE, headers={"content-type": URLENCODED}).status_code == 200
    assert len(IMAGE) > SIDE
