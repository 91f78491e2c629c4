import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from stages.common.errors import UserError
from stages.common.images import ImageFormat
from stages.model import numerics, weights
from stages.model.network import Network, NetworkConfig
from stages.model.scoring import classify
from tests.support import run_files, runner, tiny
from tests.support.networks import unusual
from tools import export

CHANGES = {"conv1_filters": 3, "conv2_filters": 5, "kernel_size": 4}
Make = Callable[[NetworkConfig, ImageFormat], Network]


@pytest.mark.parametrize(("make", "changes"), [(Network, {}), (Network, CHANGES), (unusual, {})])
def test_onnxruntime_gives_what_pytorch_gives(
    config: NetworkConfig, image_format: ImageFormat, make: Make, changes: dict[str, float]
) -> None:
    images_as = image_format.model_copy(update={"mean": [0.5], "std": [0.25]})
    network = make(config.model_copy(update=changes), images_as).eval().requires_grad_(False)
    images, _ = tiny.digits(7, seed=4)
    session = onnxruntime.InferenceSession(export.convert(network).SerializeToString())
    (image,), (output,) = session.get_inputs(), session.get_outputs()
    assert (image.name, image.type, image.shape) == ("image", "tensor(float)", ["N", 1, 28, 28])
    assert (output.name, output.shape) == ("log_probabilities", ["N", 10])
    (seen,) = session.run(None, {"image": images.transpose(0, 3, 1, 2).astype(np.float32) / 255})
    with numerics.pool(1) as pool:
        expected = classify(network, images, batch_size=7, pool=pool)
    np.testing.assert_allclose(seen, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("hidden", [(), ("onnxruntime",)])
def test_it_must_give_what_the_predictions_say_before_it_is_written(
    copied: Path, hidden: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in hidden:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.chdir(copied)
    monkeypatch.setattr(sys, "argv", ["export", "model.onnx"])
    export.main()
    (copied / "model.onnx").unlink()
    run_files.change_confidence(copied / "metrics/predictions.csv")
    with pytest.raises(UserError, match=r"^model\.onnx: not written: it would say .* 0\.123456"):
        export.main()
    assert not list(copied.glob("*.onnx*"))


def test_main_writes_the_same_bytes_each_time(
    config: NetworkConfig, image_format: ImageFormat, tmp_path: Path
) -> None:
    weights.save(
        tmp_path / "model.safetensors", Network(config, image_format).requires_grad_(False)
    )
    for name in ("a.onnx", "sub/b.onnx"):
        with pytest.MonkeyPatch.context() as patch:
            options = [f"--model={tmp_path / 'model.safetensors'}", str(tmp_path / name)]
            patch.setattr(sys, "argv", ["export", *options])
            export.main()
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "sub/b.onnx").read_bytes()


def test_without_onnx_it_says_what_to_install(tmp_path: Path) -> None:
    hidden = "import sys; sys.modules['onnx'] = None; import tools.export"
    process = runner.python("-c", hidden, folder=tmp_path)
    assert process.returncode == 1
    assert "requirements-export.txt" in process.stderr
    assert process.stderr.count("\n") == 1
