import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from stages.common.errors import UserError
from tests.support import runner, tiny
from tools import predict

Output = pytest.CaptureFixture[str]


def run(trained: Path, *arguments: str | Path) -> int:
    """`python -m tools.predict` in this process, with the tiny network; the exit status."""
    model = f"--model={trained / 'models/model.safetensors'}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["predict", model, *map(str, arguments)])
        try:
            predict.main()
        except SystemExit as end:
            return int(end.code or 0)
    return 0


def write_digits(folder: Path, n: int) -> list[int]:
    """The files 0.png, 1.png ... with images that the tiny network knows; their labels."""
    images, labels = tiny.digits(n, seed=2)
    images[:, [0, -1]] = images[:, :, [0, -1]] = 0  # black at the edges, as MNIST's are
    for index, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{index}.png")
    return [int(label) for label in labels]


def seven() -> Image.Image:
    picture = Image.new("L", (300, 200), "white")
    ImageDraw.Draw(picture).line([(110, 60), (190, 60), (150, 160)], fill="black", width=12)
    return picture


def turned() -> Image.Exif:
    """EXIF data that say: turn the picture a quarter clockwise."""
    exif = Image.Exif()
    exif[0x0112] = 6  # the orientation
    return exif


def test_a_row_for_each_picture(trained: Path, tmp_path: Path, capsys: Output) -> None:
    labels = write_digits(tmp_path, 3)
    names = [str(tmp_path / name) for name in ("2.png", "0.png", "2.png")]
    assert run(trained, *names) == 0
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split() == ["picture", "digit", "confidence", "runner-up"]
    digits = [str(labels[index]) for index in (2, 0, 2)]
    assert [tuple(row.split()[:2]) for row in rows] == list(zip(names, digits, strict=True))


def test_the_two_most_probable_digits_are_ranked() -> None:
    outputs = np.log(np.full(10, 0.01, np.float32))
    outputs[[4, 9]] = np.log([0.7, 0.22])
    expected = predict.Guess("a", 4, 0.7, 9, 0.22, several=True)
    assert predict.rank("a", outputs, several=True) == expected


def test_a_folder_stands_for_the_pictures_in_it_in_order(tmp_path: Path, capsys: Output) -> None:
    for name in ("b.PNG", "a.jpeg", "notes.txt", ".hidden", "deep/c.webp", "deep/d.tiff"):
        path = tmp_path / "scans" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    found = predict.list_pictures(["x.png", str(tmp_path / "scans"), "-"])
    names = [str(tmp_path / "scans" / name) for name in ("a.jpeg", "b.PNG", "deep/c.webp")]
    assert found == ["x.png", *names, "-"]
    assert capsys.readouterr().err.startswith(f"{tmp_path / 'scans'}: 2 files skipped")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty"):
        predict.list_pictures([str(tmp_path / "empty")])


def test_more_than_one_digit_is_said_and_classified_all_the_same(
    trained: Path, tmp_path: Path, capsys: Output
) -> None:
    seven().save(tmp_path / "7.png")
    Image.fromarray(np.hstack(2 * [np.asarray(seven())])).save(tmp_path / "77.png")
    assert run(trained, "--json", tmp_path / "77.png", tmp_path / "7.png") == 0
    captured = capsys.readouterr()
    assert [guess["several"] for guess in json.loads(captured.out)] == [True, False]
    (line,) = captured.err.splitlines()
    assert line.startswith(f"{tmp_path / '77.png'}: ")


def test_bad_input_gives_a_line_each_and_the_others_go_on(
    trained: Path, tmp_path: Path, capsys: Output
) -> None:
    (label,) = write_digits(tmp_path, 1)
    Image.new("L", (50, 50), 255).save(tmp_path / "empty.png")
    (tmp_path / "text.png").write_text("hello")
    broken = tmp_path / "broken.webp"
    seven().save(broken, exif=turned())
    broken.write_bytes(broken.read_bytes().replace(b"MM\0*", b"MM\0!"))  # where EXIF data start
    names = ["empty.png", "missing.png", "text.png", "broken.webp", "0.png"]
    assert run(trained, "--json", "\x1b[31m\n.png", *(tmp_path / name for name in names)) == 1
    captured = capsys.readouterr()
    assert [guess["digit"] for guess in json.loads(captured.out)] == [label]
    escape, *lines = captured.err.splitlines()
    assert escape.startswith("\\x1b[31m\\n.png: ")  # a terminal would obey it
    problems = ["nothing is drawn", "No such file", "not a PNG, JPEG or WebP", "damaged: "]
    for line, name, problem in zip(lines, names[:4], problems, strict=True):
        assert line.startswith(f"{tmp_path / name}: {problem}")


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_a_picture_is_turned_as_its_exif_data_say(form: str, tmp_path: Path) -> None:
    seven().save(tmp_path / "picture", form, exif=turned())
    seen = np.asarray(predict.read(str(tmp_path / "picture")).convert("L"), int)
    expected = np.asarray(seven().rotate(-90, expand=True), int)
    assert np.abs(seen - expected).mean() < 4


@pytest.mark.parametrize("limit", [50_000, 5_000])  # Pillow warns of one and refuses the other
def test_too_many_pixels_are_refused(
    limit: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seven().save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(UserError, match=f"^more than {limit:,} pixels$"):
        predict.read(str(tmp_path / "large.png"))


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_damage_is_found_wherever_it_is(form: str, tmp_path: Path) -> None:
    path = tmp_path / "picture"
    seven().save(path, form, exif=turned())
    whole = path.read_bytes()
    random = np.random.default_rng(8)
    refused = 0
    for _ in range(150):
        content = bytearray(whole)
        for place in (len(whole) * random.random(3) ** 2).astype(int):
            content[place] = random.integers(256)
        for damaged in (content, whole[: random.integers(len(whole))]):
            path.write_bytes(damaged)
            try:
                predict.read(str(path))
            except UserError:
                refused += 1
    assert refused > 150


def test_show_saves_what_the_network_saw(trained: Path, tmp_path: Path, capsys: Output) -> None:
    (tmp_path / "a").mkdir()
    write_digits(tmp_path / "a", 1)
    seven().save(tmp_path / "a/1.jpg")
    assert run(trained, "--json", "--show", tmp_path / "seen", tmp_path / "a") == 0
    first = json.loads(capsys.readouterr().out)
    names = [f"000{row}-{row - 1}-as-{guess['digit']}.png" for row, guess in enumerate(first, 1)]
    assert sorted(path.name for path in (tmp_path / "seen").iterdir()) == names
    assert run(trained, "--json", tmp_path / "seen") == 0
    second = json.loads(capsys.readouterr().out)
    assert [guess | {"picture": ""} for guess in first] == [
        guess | {"picture": ""} for guess in second
    ]


def test_a_process_of_its_own_reads_standard_input_and_leaves_dvc_alone(trained: Path) -> None:
    picture = io.BytesIO()
    seven().save(picture, "PNG")
    code = "import sys, tools.predict; tools.predict.main(); sys.exit('dvc' in sys.modules)"
    process = subprocess.run(
        [sys.executable, "-c", code, "-"],
        cwd=trained,
        env={**os.environ, "PYTHONPATH": str(runner.ROOT)},
        input=picture.getvalue(),
        capture_output=True,
        check=False,
    )
    assert (process.returncode, process.stderr) == (0, b"")
    assert process.stdout.splitlines()[1].startswith(b"-  ")
