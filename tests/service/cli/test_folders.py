"""Folders as people have them: what is read, what is left out, how outputs are named, and that nothing is lost."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from time import monotonic, sleep

import pytest

from service.cli import runner, sources
from service.cli.output_log import OutputLog
from service.cli.plan import ExistingFilePolicy, output_folder, plan_outputs
from service.cli.sources import find_sources, printable
from service.config import Settings
from service.runtime.hardware import Choice
from tests.conftest import digit, png
from tests.service.cli.test_commands import hourglass
from tests.support.compatibility import accepts, refuses

IMAGE = png(digit())


def never(_path: Path) -> bool:
    return False


def write(folder: Path, *names: str, data: bytes = IMAGE) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def names_found(folder: Path) -> list[str]:
    return [source.name.as_posix() for source in find_sources([str(folder)], None, never).files]


def targets(folder: Path, output: str, *, suffix: str = "") -> dict[str, str]:
    """The planned name of each source, below the output folder."""
    place = output_folder(output, [str(folder)])
    listed = find_sources([str(folder)], place, never)
    plan = plan_outputs(listed, output, place, ExistingFilePolicy(suffix=suffix), never)
    return {
        task.source.name.as_posix(): task.target.relative_to(output).as_posix() for task in plan.tasks if task.target
    }


@accepts(23, "files of systems in a folder are ignored", oracle="the images that are found", cases="{name}")
@pytest.mark.parametrize(
    "name",
    [
        "._x.png",
        ".x.png",
        ".DS_Store",
        ".picasa.ini",
        ".thumbnails/x.png",
        ".AppleDouble/x.png",
        ".Trash-1000/files/x.png",
        ".git/x.png",
        ".@__thumb/x.png",
        "__MACOSX/x.png",
        "@eaDir/x.png/SYNOFILE_THUMB_M.png",
        "#recycle/x.png",
        "@Recycle/x.png",
        "$RECYCLE.BIN/x.png",
        "System Volume Information/x.png",
        "lost+found/x.png",
        "Thumbs.db",
        "ehthumbs.db",
        "desktop.ini",
        "Desktop.ini",
        "Icon\r",
        "~$scan.png",
    ],
)
def test_a_file_of_a_system_is_ignored_silently(tmp_path: Path, name: str) -> None:
    write(tmp_path, "real.png", name)
    listed = find_sources([str(tmp_path)], None, never)
    assert [source.name.as_posix() for source in listed.files] == ["real.png"]
    assert not listed.passed_over


@accepts(23, "suffixes in any case, and none", oracle="the images that are found", cases="{name}")
@pytest.mark.parametrize(
    "name",
    [
        "x.PNG",
        "x.JPG",
        "x.jpe",
        "x.jfif",
        "x.Jpeg",
        "x.tif",
        "x.TIFF",
        "x.bmp",
        "x.dib",
        "x.gif",
        "x.avif",
        "x.webp",
        "x",
    ],
)
def test_an_image_of_any_spelling_is_found(tmp_path: Path, name: str) -> None:
    write(tmp_path, name)
    assert names_found(tmp_path) == [name]


@refuses(23, "other files of a folder", because="they are counted in the summary with what to do", cases="{name}")
@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("x.CR2", b"II*\0", "1 .cr2 (convert them to PNG or JPEG first)"),
        ("x.jxl", b"\xff\x0a", "1 .jxl (convert them to PNG or JPEG first)"),
        ("x.pdf", b"%PDF", "1 .pdf (convert them to PNG or JPEG first)"),
        ("notes.txt", b"text", "1 .txt"),
        ("README", b"text", "1 without a suffix"),
        ("x.png", b"", "1 empty files"),
    ],
)
def test_what_is_passed_over_is_counted_by_kind(tmp_path: Path, name: str, data: bytes, reason: str) -> None:
    write(tmp_path, name, data=data)
    assert find_sources([str(tmp_path)], None, never).describe_passed_over() == reason


@refuses(23, "HEIC without the extra `heif` in a folder", because="counted with what to install")
def test_heic_without_its_extra_is_counted_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "SUFFIXES", {".png"})
    monkeypatch.setattr(sources, "supported_formats", lambda: frozenset({"png"}))
    write(tmp_path, "x.HEIC", data=b"\0\0\0\x18ftypheic")
    reason = "1 .heic (to read them, install the extra heif: pip install '.[heif]' in the checkout of Hourglass)"
    assert find_sources([str(tmp_path)], None, never).describe_passed_over() == reason


@refuses(23, "broken links and pipes", because="broken links are counted, pipes ignored")
def test_a_broken_link_is_counted_and_a_pipe_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    os.mkfifo(tmp_path / "pipe.png")
    assert find_sources([str(tmp_path)], None, never).describe_passed_over() == "1 broken links"


@accepts(23, "links to folders and files, and loops", oracle="the images that are found")
def test_links_are_followed_and_loops_end(tmp_path: Path) -> None:
    write(tmp_path / "elsewhere", "a.png")
    write(tmp_path / "in", "b.png")
    (tmp_path / "in/album").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in/loop").symlink_to(tmp_path / "in")
    (tmp_path / "in/again").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in/link.png").symlink_to(tmp_path / "in/b.png")
    assert names_found(tmp_path / "in") == ["again/a.png", "b.png", "link.png"]


@accepts(23, "odd and long names", oracle="the outputs", cases="{name:.30}")
@pytest.mark.parametrize(
    "name",
    [
        "-x.png",
        "--output.png",
        "two\nlines.png",
        " blank .png",
        "a" * 251 + ".png",
        "100%.png",
        "[1].png",
        "it's.png",
        "bild ä 图.png",
        "\x1b[31m.png",
        os.fsdecode(b"caf\xe9.png"),
    ],
    ids=lambda name: printable(name)[:12],
)
def test_a_file_of_an_odd_name_is_processed(models: Path, tmp_path: Path, name: str) -> None:
    write(tmp_path / "in", name)
    run = hourglass("denoise", tmp_path / "in", "-o", tmp_path / "out", "--model", "digits", "--models-dir", models)
    assert run.returncode == 0, run.stderr
    assert names_in(tmp_path / "out") == [name]


def test_codes_of_odd_names_are_written_as_valid_utf_8(models: Path, tmp_path: Path) -> None:
    write(tmp_path / "in", os.fsdecode(b"caf\xe9.png"), "two\nlines.png")
    run = hourglass("encode", tmp_path / "in", "-o", tmp_path / "c.csv", "--model", "digits", "--models-dir", models)
    assert run.returncode == 0, run.stderr
    lines = (tmp_path / "c.csv").read_text("utf-8").splitlines()
    assert [line.split(",")[0].rpartition("/")[2] for line in lines] == ["file", "caf\\xe9.png", "two\\nlines.png"]


@refuses(23, "an unreadable folder inside a folder", because="it is named, status 1")
def test_an_unreadable_folder_is_reported_with_status_1(models: Path, tmp_path: Path) -> None:
    if os.getuid() == 0:
        pytest.skip("root reads every folder")
    write(tmp_path / "in", "a.png", "closed/b.png")
    (tmp_path / "in/closed").chmod(0)
    run = hourglass("denoise", tmp_path / "in", "-o", tmp_path / "out", "--model", "digits", "--models-dir", models)
    (tmp_path / "in/closed").chmod(0o700)
    assert run.returncode == 1
    assert "cannot read the folder" in run.stderr


def test_folder_of_everything_says_what_is_passed_over(models: Path, tmp_path: Path) -> None:
    write(tmp_path / "in", "a.png", "._a.png", "__MACOSX/._a.png", "Thumbs.db", ".DS_Store")
    write(tmp_path / "in", "empty.png", data=b"")
    write(tmp_path / "in", "1.jxl", "2.jxl", data=b"\xff\x0a")
    run = hourglass("denoise", tmp_path / "in", "-o", tmp_path / "out", "--model", "digits", "--models-dir", models)
    assert run.returncode == 0, run.stderr
    words = " ".join(run.stderr.split())
    assert "1 of 1 done; passed over: 2 .jxl (convert them to PNG or JPEG first), 1 empty files" in words
    assert names_in(tmp_path / "out") == ["a.png"]


# Names of outputs


@accepts(24, "names that differ in case or suffix", oracle="the outputs")
def test_names_that_differ_in_case_have_separate_outputs(models: Path, tmp_path: Path) -> None:
    write(tmp_path / "in", "a.tif", "a.png", "A.PNG", "a.PNG")
    run = hourglass("denoise", tmp_path / "in", "-o", tmp_path / "out", "--model", "digits", "--models-dir", models)
    assert run.returncode == 0, run.stderr
    assert len({name.casefold() for name in names_in(tmp_path / "out")}) == 4
    assert "is written as" in run.stderr


@accepts(24, "names that are equal on some file systems", oracle="the outputs, case-folded", cases="{names}")
@pytest.mark.parametrize(
    "names",
    [
        ("a.png", "A.PNG"),
        ("a.jpg", "a.mpo"),
        ("straße.png", "STRASSE.png"),
        ("é.png", "e\u0301.png"),
        ("a.png", "a-2.png", "A.png"),
        ("x/a.png", "X/a.png"),
        ("a", "a.png"),
    ],
)
def test_no_two_outputs_have_one_name_on_any_file_system(tmp_path: Path, names: tuple[str, ...]) -> None:
    write(tmp_path / "in", *names)
    planned = targets(tmp_path / "in", str(tmp_path / "out"))
    assert len({name.casefold() for name in planned.values()}) == len(names)


@accepts(24, "equal names in several folders", oracle="the outputs")
def test_equal_names_of_folders_have_separate_outputs(tmp_path: Path) -> None:
    write(tmp_path, "one/a.png", "two/a.png")
    names = [str(tmp_path / "one"), str(tmp_path / "two")]
    place = output_folder("out", names)
    plan = plan_outputs(find_sources(names, place, never), "out", place, ExistingFilePolicy(), never)
    assert [task.target for task in plan.tasks] == [Path("out/a.png"), Path("out/a-2.png")]
    assert len(plan.notes) == 1


@accepts(24, "`--suffix`", oracle="the outputs")
def test_a_suffix_is_added_before_the_last_dot(tmp_path: Path) -> None:
    write(tmp_path / "in", "a.b.png", "c.jpg")
    assert targets(tmp_path / "in", "out", suffix="_clean") == {"a.b.png": "a.b_clean.png", "c.jpg": "c_clean.jpg"}


@accepts(24, "`--suffix` on a name of 255 bytes", oracle="the outputs")
def test_a_long_name_with_a_suffix_is_cut(tmp_path: Path) -> None:
    write(tmp_path / "in", "a" * 251 + ".png")
    (name,) = targets(tmp_path / "in", "out", suffix="_clean").values()
    assert len(name) == 255
    assert name.endswith("a_clean.png")


@accepts(24, "the output folder inside the input folder, twice", oracle="the outputs")
def test_a_second_run_does_not_read_the_output_of_the_first(models: Path, tmp_path: Path) -> None:
    write(tmp_path / "in", "a.png", "deep/b.png")
    environ = {"XDG_STATE_HOME": str(tmp_path / "state")}
    for output in ("clean", "clean", "other"):
        run = hourglass(
            *("denoise", tmp_path / "in", "-o", tmp_path / "in" / output),
            *("--model", "digits", "--models-dir", models),
            **environ,
        )
        assert run.returncode == 0, run.stderr
    files = {path.relative_to(tmp_path / "in").as_posix() for path in (tmp_path / "in").rglob("*.png")}
    assert files == {f"{folder}{name}" for folder in ("", "clean/", "other/") for name in ("a.png", "deep/b.png")}
    assert "2 outputs of earlier runs" in run.stderr


@accepts(24, "outputs beside the sources, twice", oracle="the outputs")
def test_a_suffix_makes_outputs_beside_the_sources_once(models: Path, tmp_path: Path) -> None:
    write(tmp_path, "a.png")
    for _ in range(2):
        run = hourglass(
            *("denoise", tmp_path, "-o", tmp_path, "--suffix", "_clean", "--model", "digits", "--models-dir", models),
            XDG_STATE_HOME=str(tmp_path / ".state"),
        )
        assert run.returncode == 0, run.stderr
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["a.png", "a_clean.png"]


@refuses(
    24, "an output that exists, without `--overwrite` or `--skip-existing`", because="status 2, nothing is written"
)
def test_a_file_of_the_user_is_not_replaced_without_a_flag(models: Path, tmp_path: Path) -> None:
    write(tmp_path / "in", "a.png", "b.png")
    write(tmp_path / "out", "a.png", data=b"mine")
    command = ["denoise", tmp_path / "in", "-o", tmp_path / "out", "--model", "digits", "--models-dir", models]
    run = hourglass(*command)
    assert run.returncode == 2
    assert "--overwrite replaces, --skip-existing keeps" in " ".join(run.stderr.split())
    assert names_in(tmp_path / "out") == ["a.png"]
    run = hourglass(*command, "--skip-existing")
    assert run.returncode == 0
    assert "1 skipped because their outputs exist" in run.stderr
    assert (tmp_path / "out/a.png").read_bytes() == b"mine"
    assert (tmp_path / "out/b.png").exists()
    assert hourglass(*command, "--overwrite").returncode == 0
    assert (tmp_path / "out/a.png").read_bytes() != b"mine"


@refuses(24, "a single output that exists", because="status 2, nothing is written", cases="{operation}")
@pytest.mark.parametrize("operation", ["denoise", "encode"])
def test_a_single_output_that_exists_is_not_replaced(models: Path, tmp_path: Path, operation: str) -> None:
    output = tmp_path / ("out.png" if operation == "denoise" else "out.csv")
    write(tmp_path, "a.png")
    output.write_bytes(b"mine")
    run = hourglass(operation, tmp_path / "a.png", "-o", output, "--model", "digits", "--models-dir", models)
    assert run.returncode == 2
    assert output.read_bytes() == b"mine"


@refuses(25, "flags that exclude each other", because="both are named")
def test_flags_that_exclude_each_other_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "a.png")
    run = hourglass("denoise", tmp_path / "a.png", "-o", "b.png", "--overwrite", "--skip-existing", "--model", "digits")
    assert run.returncode == 2
    assert "exclude each other" in run.stderr


@refuses(24, "an output over another source", because="it would be lost")
def test_an_output_over_another_source_is_refused(models: Path, tmp_path: Path) -> None:
    write(tmp_path, "in/a.png", "b/a.png")
    run = hourglass(
        *("denoise", tmp_path / "in", tmp_path / "b/a.png", "-o", tmp_path / "b"),
        *("--overwrite", "--model", "digits", "--models-dir", models),
    )
    assert run.returncode == 2
    assert "would overwrite the source" in " ".join(run.stderr.split())
    assert (tmp_path / "b/a.png").read_bytes() == IMAGE


def test_an_output_that_somebody_changed_is_no_longer_own(tmp_path: Path) -> None:
    log = OutputLog(tmp_path / "state")
    write(tmp_path, "a.png")
    log.record(tmp_path / "a.png")
    assert OutputLog(tmp_path / "state").is_own(tmp_path / "a.png")
    write(tmp_path, "a.png", data=b"edited")
    assert not OutputLog(tmp_path / "state").is_own(tmp_path / "a.png")


def test_a_cut_line_of_the_log_loses_nothing_before_it(tmp_path: Path) -> None:
    write(tmp_path, "a.png")
    OutputLog(tmp_path / "state").record(tmp_path / "a.png")
    (file,) = (tmp_path / "state").iterdir()
    with file.open("a") as log:
        log.write('["b.p')
    assert OutputLog(tmp_path / "state").is_own(tmp_path / "a.png")


@accepts(25, "a run that is stopped says how to go on", oracle="stderr and status", cases="{kind}")
@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_says_how_to_go_on(models: Path, tmp_path: Path, kind: signal.Signals) -> None:
    write(tmp_path / "in", *(f"{number:04}.png" for number in range(3000)))
    words = ["denoise", tmp_path / "in", "-o", tmp_path / "out", "--model", "digits", "--models-dir", models]
    command = [sys.executable, "-m", "service", *map(str, words)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    patience = monotonic() + 60
    while not (tmp_path / "out").exists() and monotonic() < patience:
        sleep(0.01)
    process.send_signal(kind)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 128 + kind, stderr
    assert "the same command with --skip-existing continues" in " ".join(stderr.split())
    assert "Traceback" not in stderr
    assert all(path.read_bytes()[:4] == b"\x89PNG" for path in (tmp_path / "out").iterdir())


@accepts(25, "`--json`", oracle="the parsed document")
def test_the_json_document_lists_every_file(models: Path, tmp_path: Path) -> None:
    write(tmp_path / "in", "a.png")
    write(tmp_path / "in", "b.png", data=IMAGE[:60])
    write(tmp_path / "in", "c.jxl", data=b"x")
    run = hourglass(
        *("reconstruct", tmp_path / "in", "-o", tmp_path / "out", "--json", "--quiet"),
        *("--model", "digits", "--models-dir", models),
    )
    assert run.returncode == 1
    document = json.loads(run.stdout)
    assert [file["status"] for file in document["files"]] == ["done", "failed"]
    assert document["files"][0]["output"] == str(tmp_path / "out/a.png")
    assert document["files"][0]["figures"][0]["mse"] >= 0
    assert (document["done"], document["failed"]) == (1, 1)
    assert document["passed_over"] == {".jxl (convert them to PNG or JPEG first)": 1}
    assert run.stderr.count("\n") == 1


@pytest.mark.parametrize(("count", "many"), [(1, False), (3, False), (4, True)])
def test_images_run_side_by_side_if_there_are_two_for_each_core(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, count: int, many: bool
) -> None:
    class Loaded(Exception):
        pass

    def load(_settings: Settings, *, lazy: bool, many_images: bool) -> None:
        assert (lazy, many_images) == (True, many)
        raise Loaded

    monkeypatch.setattr(runner, "STOP_SIGNALS", ())
    monkeypatch.setattr(runner, "available_cores", lambda: Choice(2, ""))
    monkeypatch.setattr(runner, "load_state", load)
    write(tmp_path / "in", *(f"{number}.png" for number in range(count)))
    place = output_folder(f"{tmp_path}/out/", [f"{tmp_path}/in"])
    found = find_sources([f"{tmp_path}/in"], place, never)
    plan = plan_outputs(found, f"{tmp_path}/out/", place, ExistingFilePolicy(), never)
    with pytest.raises(Loaded):
        runner.run_tasks("denoise", found, plan, Settings(), runner.DEFAULT_OPTIONS)
