import io
import json
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from stages.common import errors
from stages.common.errors import UserError
from stages.model import weights
from tests.support import posix, runner, tiny
from tools import predict

Output = pytest.CaptureFixture[str]


def run(trained: Path, *arguments: str | Path) -> int:
    """`python -m tools.predict` in this process, with the tiny network; the exit status."""
    model = f"--model={trained / 'models/model.safetensors'}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["predict", model, *map(str, arguments)])
        try:
            errors.run(predict.main)
        except SystemExit as end:
            if isinstance(end.code, str):
                print(end.code, file=sys.stderr)
            return end.code if isinstance(end.code, int) else 1
    return 0


def write_digits(folder: Path, n: int) -> list[int]:
    """The files 0.png, 1.png ... with images that the tiny network knows; their labels."""
    images, labels = tiny.digits(n, seed=2)
    images[:, [0, -1]] = images[:, :, [0, -1]] = 0  # black at the edges, as MNIST's are
    for index, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{index}.png")
    return [int(label) for label in labels]


def encoded(picture: Image.Image, form: str = "PNG", **options: object) -> bytes:
    content = io.BytesIO()
    picture.save(content, form, **options)
    return content.getvalue()


def seven(mode: str = "RGB") -> Image.Image:
    picture = Image.new(mode, (300, 200), "white")
    ImageDraw.Draw(picture).line([(110, 60), (190, 60), (150, 160)], fill="black", width=12)
    return picture


def png_header(width: int, height: int) -> bytes:
    """A PNG file that claims to have so many pixels, of one bit."""

    def chunk(name: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + checksum

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0"))


def test_a_row_for_each_picture(trained: Path, tmp_path: Path, capsys: Output) -> None:
    labels = write_digits(tmp_path, 3)
    assert run(trained, tmp_path / "2.png", tmp_path / "0.png") == 0
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split() == ["picture", "digit", "confidence", "runner-up"]
    assert [row.split()[:2] for row in rows] == [
        [str(tmp_path / "2.png"), str(labels[2])],
        [str(tmp_path / "0.png"), str(labels[0])],
    ]


def test_json_has_an_object_for_each_picture(trained: Path, tmp_path: Path, capsys: Output) -> None:
    labels = write_digits(tmp_path, 12)
    assert run(trained, "--json", *(tmp_path / f"{index}.png" for index in range(12))) == 0
    guesses = json.loads(capsys.readouterr().out)
    assert [guess["digit"] for guess in guesses] == labels
    for index, guess in enumerate(guesses):
        assert guess.keys() == set(predict.Guess._fields)
        assert guess["picture"] == str(tmp_path / f"{index}.png")
        assert guess["digit"] != guess["runner_up"]
        assert 1 >= guess["confidence"] >= guess["runner_up_confidence"] >= 0


def test_the_two_most_probable_digits_are_ranked() -> None:
    outputs = np.log(np.full((1, 10), 0.01, np.float32))
    outputs[0, [4, 9]] = np.log([0.7, 0.22])
    expected = predict.Guess("a", 4, 0.7, 9, 0.22, several=True)
    assert predict.rank(["a"], [True], outputs) == [expected]


def test_a_folder_stands_for_the_pictures_in_it_in_order(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.jpeg", "notes.txt", ".hidden", "deep/c.webp", "deep/d.tiff"):
        path = tmp_path / "scans" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    found, skipped = predict.list_pictures(["x.png", str(tmp_path / "scans"), "-"])
    names = [str(tmp_path / "scans" / name) for name in ("a.jpeg", "b.PNG", "deep/c.webp")]
    assert found == ["x.png", *names, "-"]
    assert skipped == {str(tmp_path / "scans"): 2}


def test_files_of_other_formats_in_a_folder_are_counted(
    trained: Path, tmp_path: Path, capsys: Output
) -> None:
    for folder, others in {"one": ["a.tiff"], "three": ["a.pdf", "b.txt", "c"], "none": []}.items():
        (tmp_path / folder).mkdir()
        write_digits(tmp_path / folder, 1)
        for name in others:
            (tmp_path / folder / name).touch()
    assert run(trained, *(tmp_path / name for name in ("one", "three", "none"))) == 0
    assert capsys.readouterr().err.splitlines() == [
        f"{tmp_path / 'one'}: 1 file skipped, not PNG, JPEG or WebP",
        f"{tmp_path / 'three'}: 3 files skipped, not PNG, JPEG or WebP",
    ]


def test_more_than_one_digit_is_said_and_classified_all_the_same(
    trained: Path, tmp_path: Path, capsys: Output
) -> None:
    seven().save(tmp_path / "7.png")
    two = Image.new("L", (500, 200), "white")
    two.paste(seven("L"), (0, 0))
    two.paste(seven("L"), (200, 0))
    two.save(tmp_path / "77.png")
    assert run(trained, "--json", tmp_path / "77.png", tmp_path / "7.png") == 0
    captured = capsys.readouterr()
    assert [guess["several"] for guess in json.loads(captured.out)] == [True, False]
    assert captured.err == (
        f"{tmp_path / '77.png'}: looks like more than one digit; crop it to one\n"
    )


def test_a_folder_without_pictures_is_named(trained: Path, tmp_path: Path, capsys: Output) -> None:
    assert run(trained, tmp_path) == 1
    assert capsys.readouterr().err == (f"{tmp_path}: holds no picture (.jpeg, .jpg, .png, .webp)\n")


def test_a_mistake_is_a_line_and_the_others_go_on(
    trained: Path, tmp_path: Path, capsys: Output
) -> None:
    (label,) = write_digits(tmp_path, 1)
    Image.new("L", (50, 50), 255).save(tmp_path / "empty.png")
    (tmp_path / "text.png").write_text("hello")
    names = ["empty.png", "missing.png", "text.png", "0.png"]
    assert run(trained, "--json", *(tmp_path / name for name in names)) == 1
    captured = capsys.readouterr()
    assert [guess["digit"] for guess in json.loads(captured.out)] == [label]
    assert captured.err.splitlines() == [
        f"{tmp_path / 'empty.png'}: nothing is drawn on it",
        f"{tmp_path / 'missing.png'}: No such file or directory",
        f"{tmp_path / 'text.png'}: not a PNG, JPEG or WebP picture",
    ]


def test_programs_get_a_list_even_if_no_picture_could_be_read(
    trained: Path, tmp_path: Path, capsys: Output
) -> None:
    assert run(trained, "--json", tmp_path / "missing.png") == 1
    assert json.loads(capsys.readouterr().out) == []


def test_a_name_that_a_terminal_would_obey_is_quoted(
    trained: Path, tmp_path: Path, capsys: Output
) -> None:
    assert run(trained, tmp_path / "\x1b[31m\n.png") == 1
    assert "\\x1b[31m\\n.png'" in capsys.readouterr().err


@pytest.mark.parametrize(("form", "limit"), [("PNG", 0), ("JPEG", 40), ("WEBP", 40)])
def test_the_formats(form: str, limit: int) -> None:
    decoded = predict.decode(encoded(seven(), form))
    difference = np.abs(np.asarray(decoded.convert("L"), int) - np.asarray(seven("L"), int))
    assert difference.mean() <= limit / 10


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_a_picture_is_turned_as_its_exif_data_say(form: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turn it a quarter clockwise
    decoded = predict.decode(encoded(seven(), form, exif=exif))
    expected = np.asarray(seven("L").rotate(-90, expand=True), int)
    assert np.abs(np.asarray(decoded.convert("L"), int) - expected).mean() < 4


def test_a_large_jpeg_is_read_at_a_fraction_of_its_size() -> None:
    decoded = predict.decode(encoded(seven().resize((6000, 4000)), "JPEG"))
    assert decoded.size == (3000, 2000)


@pytest.mark.parametrize("side", [10_000, 100_000])  # Pillow warns of one and refuses the other
def test_too_many_pixels_are_refused_before_they_are_unpacked(side: int) -> None:
    with pytest.raises(UserError, match=r"^more than 89,478,485 pixels$"):
        predict.decode(png_header(side, side))


def test_too_many_bytes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predict, "MAX_BYTES", 1_000_000)
    (tmp_path / "large.png").write_bytes(bytes(1_000_001))
    with pytest.raises(UserError, match=r"^larger than 1 MB$"):
        predict.read(str(tmp_path / "large.png"))


@posix.only
def test_an_endless_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predict, "MAX_BYTES", 1_000_000)
    with pytest.raises(UserError, match=r"^larger than 1 MB$"):
        predict.read("/dev/zero")


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_damage_is_found_wherever_it_is(form: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    whole = encoded(seven(), form, exif=exif)
    random = np.random.default_rng(8)
    refused = 0
    for _ in range(150):
        content = bytearray(whole)
        for place in (len(whole) * random.random(3) ** 2).astype(int):
            content[place] = random.integers(256)
        for damaged in (bytes(content), whole[: random.integers(len(whole))]):
            try:
                predict.decode(damaged)
            except UserError:
                refused += 1
    assert refused > 150


def test_show_saves_what_the_network_saw(trained: Path, tmp_path: Path, capsys: Output) -> None:
    (tmp_path / "a").mkdir()
    labels = write_digits(tmp_path / "a", 2)
    (tmp_path / "a/2.jpg").write_bytes(encoded(seven(), "JPEG"))
    assert run(trained, "--json", "--show", tmp_path / "seen", tmp_path / "a") == 0
    first = json.loads(capsys.readouterr().out)
    names = sorted(path.name for path in (tmp_path / "seen").iterdir())
    assert names == [
        f"000{row}-{row - 1}-as-{guess['digit']}.png" for row, guess in enumerate(first, start=1)
    ]
    assert [guess["digit"] for guess in first[:2]] == labels
    assert run(trained, "--json", tmp_path / "seen") == 0
    second = json.loads(capsys.readouterr().out)
    assert [{**guess, "picture": ""} for guess in second] == [
        {**guess, "picture": ""} for guess in first
    ]


def test_missing_weights_say_which_command_makes_them(tmp_path: Path, capsys: Output) -> None:
    assert run(tmp_path, "x.png") == 1
    assert capsys.readouterr().err == (
        f"{tmp_path / 'models/model.safetensors'}: not found; make it with `dvc repro train`,"
        " or get it with `dvc pull`\n"
    )


def test_weights_of_another_shape_are_refused(
    trained: Path, tmp_path: Path, capsys: Output
) -> None:
    network = weights.load(trained / "models/model.safetensors")
    bias = network.get_parameter("fc2.bias")
    bias.data = bias[:9]
    weights.save(tmp_path / "models/model.safetensors", network)
    assert run(tmp_path, "x.png") == 1
    assert "'fc2.bias': 'torch.float32 (9,)'" in capsys.readouterr().err


def test_a_process_of_its_own_reads_standard_input_and_leaves_dvc_alone(trained: Path) -> None:
    code = "import sys, tools.predict; tools.predict.main(); sys.exit('dvc' in sys.modules)"
    process = subprocess.run(
        [sys.executable, "-c", code, "-"],
        cwd=trained,
        env={**os.environ, "PYTHONPATH": str(runner.ROOT)},
        input=encoded(seven()),
        capture_output=True,
        check=False,
    )
    assert (process.returncode, process.stderr) == (0, b"")
    assert process.stdout.splitlines()[1].startswith(b"-  ")
