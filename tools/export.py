"""Write the trained network as ONNX, for other languages and runtimes.

Reads the weights, and the test images to compare the file with predictions.csv before it is
written. Writes one file with all that is needed to classify. Its input is `image`,
float32 (N, channels, height, width), from 0 to 1; its output is `log_probabilities`,
float32 (N, classes). Needs the packages of requirements-export.txt besides.

    python -m tools.export model.onnx
"""

import sys
from argparse import ArgumentParser, Namespace
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from stages.common import files
from stages.common.errors import run
from stages.common.images import ImageFormat, Images
from stages.model import weights
from stages.model.network import Network
from tools import trained
from tools.operators import constants, operators

try:
    from onnx import ModelProto, TensorProto, checker, helper, numpy_helper
except ModuleNotFoundError:
    sys.exit(f"{sys.executable} lacks onnx: `pip install -r requirements-export.txt`")

OPSET = 28  # the newest that the onnx of requirements-export.txt knows


def main() -> None:
    """Load, convert, compare, save."""
    args = parse_arguments()
    network = weights.load(args.model) if args.model else trained.load()
    content = convert(network).SerializeToString(deterministic=True)
    if args.model:
        print(f"{args.onnx}: not compared with predictions.csv, which is not of {args.model}")
    else:
        images, predictions = trained.read_tests()
        rows = trained.one_of_each(predictions)
        trained.compare(str(args.onnx), classify(content, images[rows["index"]]), rows)
    files.write(args.onnx, content)
    channels, height, width = channels_first(network.images)
    print(
        f"{args.onnx}: opset {OPSET}, image (N, {channels}, {height}, {width}) to"
        f" log_probabilities (N, {network.images.classes})"
    )


def parse_arguments() -> Namespace:
    """The command line."""
    parser = ArgumentParser(prog="python -m tools.export", description="Write the network as ONNX.")
    parser.add_argument("onnx", type=Path, help="the file to write, such as model.onnx")
    parser.add_argument("--model", type=Path, help="weights (default: those that dvc.yaml names)")
    return parser.parse_args()


def channels_first(images: ImageFormat) -> tuple[int, int, int]:
    """(channels, height, width)."""
    return images.channels, images.height, images.width


def classify(onnx: bytes, images: Images) -> npt.NDArray[np.float32]:
    """The probabilities (n, classes) of images, by onnxruntime if it is there, else by onnx."""
    try:
        from onnxruntime import InferenceSession as Session  # noqa: PLC0415 - only tests install it
    except ModuleNotFoundError:
        from onnx.reference import ReferenceEvaluator as Session  # noqa: PLC0415 - as slow
    pixels = images.transpose(0, 3, 1, 2).astype(np.float32) / 255
    (outputs,) = Session(onnx).run(None, {"image": pixels})
    probabilities: npt.NDArray[np.float32] = np.exp(outputs)
    return probabilities


def convert(network: Network) -> ModelProto:
    """A graph in which each operator takes what the one before it gives."""
    steps, images = operators(network), network.images
    values = ["image", *(f"layer{i}" for i in range(1, len(steps))), "log_probabilities"]
    nodes = [
        helper.make_node(step.kind, [before, *step.constants], [after], **step.attributes)
        for step, (before, after) in zip(steps, pairwise(values), strict=True)
    ]
    graph = helper.make_graph(
        nodes,
        "digit_classifier",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", *channels_first(images)])],
        [
            helper.make_tensor_value_info(
                "log_probabilities", TensorProto.FLOAT, ["N", images.classes]
            )
        ],
        [numpy_helper.from_array(value, name) for name, value in constants(network).items()],
    )
    model = helper.make_model_gen_version(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    checker.check_model(model, full_check=True)
    return model


if __name__ == "__main__":
    run(main)
