import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from stages.common.files import sha256
from stages.evaluate import classify
from stages.model import numerics, weights
from stages.model.network import Network, NetworkConfig
from tests.support import runner, tiny
from tools import export


@pytest.fixture
def network(config: NetworkConfig) -> Network:
    return Network(config).requires_grad_(False)


def test_the_input_and_the_output_are_as_promised(network: Network) -> None:
    model = export.convert(network)
    (image,), (output,) = model.graph.input, model.graph.output
    for value, name, shape in (
        (image, "image", ["N", 1, 28, 28]),
        (output, "log_probabilities", ["N", 10]),
    ):
        tensor = value.type.tensor_type
        assert value.name == name
        assert tensor.elem_type == onnx.TensorProto.FLOAT
        assert [side.dim_param or side.dim_value for side in tensor.shape.dim] == shape
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", export.OPSET)]
    assert onnx.defs.onnx_opset_version() == export.OPSET


@pytest.mark.parametrize("n", [1, 7])
@pytest.mark.parametrize(
    "changes",
    [{}, {"conv1_filters": 3, "conv2_filters": 5, "kernel_size": 4, "mean": 0.5, "std": 0.25}],
)
def test_onnxruntime_gives_what_pytorch_gives(
    config: NetworkConfig, changes: dict[str, float], n: int
) -> None:
    network = Network(config.model_copy(update=changes)).requires_grad_(False)
    images, _ = tiny.digits(n, seed=4)
    session = onnxruntime.InferenceSession(export.convert(network).SerializeToString())
    (seen,) = session.run(None, {"image": images[:, np.newaxis].astype(np.float32) / 255})
    with numerics.pool(1) as pool:
        expected = classify(network, images, batch_size=n, pool=pool)
    np.testing.assert_allclose(seen, expected, rtol=0, atol=1e-5)


def test_main_writes_the_same_bytes_each_time(network: Network, tmp_path: Path) -> None:
    weights.save(tmp_path / "model.safetensors", network)
    digests = set()
    for name in ("a.onnx", "sub/b.onnx"):
        with pytest.MonkeyPatch.context() as patch:
            options = [f"--model={tmp_path / 'model.safetensors'}", str(tmp_path / name)]
            patch.setattr(sys, "argv", ["export", *options])
            export.main()
        digests.add(sha256((tmp_path / name).read_bytes()))
        onnx.checker.check_model(tmp_path / name, full_check=True)
    assert len(digests) == 1


def test_without_onnx_it_says_what_to_install(tmp_path: Path) -> None:
    hidden = "import sys; sys.modules['onnx'] = None; import tools.export"
    process = runner.python("-c", hidden, folder=tmp_path)
    assert process.returncode == 1
    assert process.stderr == (
        f"{sys.executable} lacks onnx: `pip install -r requirements-export.txt`\n"
    )
