"""Train as the teaching notebook does that the pipeline comes from, to compare their speed.

    python -m benchmarks.notebook data out

It trains the same network on the same images in the notebook's way. The data set decodes and
normalises each image again in each epoch. The accuracy takes two more forward passes for each
batch, and the test images are read twice. PyTorch chooses the threads and the instructions.
Two things differ: the pictures go into files, and the weights are written after each epoch, in the
format of the stage train, so that the stage evaluate can score them.
"""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import figaspect
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torchvision import transforms  # type: ignore[import-untyped]
from torchvision.datasets import MNIST  # type: ignore[import-untyped]
from torchvision.utils import make_grid  # type: ignore[import-untyped]

from stages.common import params
from stages.common.images import ImageFormat
from stages.model import weights
from stages.model.network import Network, NetworkConfig

MEAN, STD = 0.1307, 0.3081
BATCH_SIZE = 50  # images
LOG_EVERY = 300  # batches
PARAMS = Path(__file__).resolve().parents[1] / "params.yaml"

Loader = DataLoader[Any]  # of (images (50, 1, 28, 28), labels (50,))


class Net(nn.Module):
    """The network of `stages.model.network` by default, without its memory format."""

    def __init__(self) -> None:
        """Layers with PyTorch's default initial weights."""
        super().__init__()
        self.conv1 = nn.Conv2d(1, 10, kernel_size=5)
        self.conv2 = nn.Conv2d(10, 20, kernel_size=5)
        self.fc1 = nn.Linear(320, 50)
        self.fc2 = nn.Linear(50, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Images (n, 1, 28, 28) to log probabilities (n, 10)."""
        x = F.relu(F.max_pool2d(self.conv1(x), 2))
        x = F.relu(F.max_pool2d(self.conv2(x), 2))
        x = F.relu(self.fc1(x.view(-1, 320)))
        return F.log_softmax(self.fc2(x), dim=1)


def main() -> None:
    """Do what all cells of the notebook do: train, score and draw."""
    parser = ArgumentParser(description="Train as the notebook did.")
    parser.add_argument("data_root", type=Path, help="the folder that holds MNIST/raw")
    parser.add_argument("out_folder", type=Path, help="where pictures and weights go")
    parser.add_argument("--epochs", type=int, default=5)
    args = parser.parse_args()
    args.out_folder.mkdir(parents=True, exist_ok=True)
    plt.switch_backend("agg")  # draws without a screen

    torch.manual_seed(42)
    train_loader, test_loader = (load(args.data_root, train=train) for train in (True, False))

    images, _ = next(iter(train_loader))
    show(make_grid(images, 10, 5), args.out_folder / "samples.png")

    net = Net()
    losses, accuracies = train_net(net, train_loader, args.epochs, args.out_folder / "checkpoints")
    save(args.out_folder / "model.safetensors", net)
    show_curves(losses, accuracies, args.out_folder / "training_curves.png")

    print(f"Accuracy on the test images: {accuracy(net, test_loader):.0f} %")
    for digit, percent in enumerate(digit_accuracies(net, test_loader)):
        print(f"Accuracy of digit {digit}: {percent:2.0f} %")

    images, labels = next(iter(test_loader))
    predicted = net(images).argmax(1)
    show(make_grid(images[:10], 10), args.out_folder / "predictions.png")
    print("  Correct labels:", *labels[:10].tolist())
    print("Predicted labels:", *predicted[:10].tolist())


def load(root: Path, *, train: bool) -> Loader:
    """Batches in random order of the training or the test images."""
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((MEAN,), (STD,))])
    images = MNIST(root, train=train, download=False, transform=transform)
    return DataLoader(images, batch_size=BATCH_SIZE, shuffle=True)


def train_net(
    net: Net, loader: Loader, epochs: int, checkpoints: Path
) -> tuple[list[float], list[float]]:
    """Train `net`, and return the mean loss and the mean accuracy (percent) of each 300 batches."""
    loss_function = nn.NLLLoss()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.001, momentum=0.9)
    losses, accuracies = [], []
    for epoch in range(1, epochs + 1):
        loss_sum = accuracy_sum = 0.0
        for number, batch in enumerate(loader, start=1):
            images, labels = batch
            optimizer.zero_grad()
            loss = loss_function(net(images), labels)
            loss.backward()
            optimizer.step()
            loss_sum += loss.item()

            correct = total = 0
            for _ in batch:  # a batch is (images, labels), so this is done twice
                predicted = torch.max(net(images).data, 1)[1]
                correct += (predicted == labels).sum().item()
                total += len(predicted)
            accuracy_sum += 100 * correct / total

            if number % LOG_EVERY == 0:
                print(f"[Epoch: {epoch} Batch: {number:5}] loss: {loss_sum / LOG_EVERY:.3f}")
                losses.append(loss_sum / LOG_EVERY)
                accuracies.append(accuracy_sum / LOG_EVERY)
                loss_sum = accuracy_sum = 0.0
        save(checkpoints / weights.checkpoint_name(epoch), net)
    return losses, accuracies


def save(path: Path, net: Net) -> None:
    """Write the weights in the format of the stage train."""
    image_format = params.load(PARAMS, "images", ImageFormat)
    network = Network(params.load(PARAMS, "model", NetworkConfig), image_format)
    network.load_state_dict(net.state_dict())
    weights.save(path, network)


def accuracy(net: Net, loader: Loader) -> float:
    """The percentage of all images that `net` classifies correctly."""
    correct = total = 0
    for images, labels in loader:
        predicted = torch.max(net(images).data, 1)[1]
        correct += (predicted == labels).sum().item()
        total += len(predicted)
    return 100 * correct / total


def digit_accuracies(net: Net, loader: Loader) -> list[float]:
    """The percentage for each digit, on the first ten images of each batch, as in the notebook."""
    correct, total = [0.0] * 10, [0] * 10
    for images, labels in loader:
        predicted = torch.max(net(images).data, 1)[1]
        hits = predicted == labels
        for i in range(10):
            correct[labels[i]] += hits[i].item()
            total[labels[i]] += 1
    return [100 * hits / n for hits, n in zip(correct, total, strict=True)]


def show(image: Tensor, path: Path) -> None:
    """Write a normalised image (3, height, width) as a picture."""
    plt.figure()
    plt.imshow((image * STD + MEAN).permute(1, 2, 0).numpy())
    plt.savefig(path)
    plt.close()


def show_curves(losses: list[float], accuracies: list[float], path: Path) -> None:
    """Draw the loss (left) and the accuracy (right) of the training."""
    figure = plt.figure(figsize=figaspect(0.2))
    for place, values, title in ((1, losses, "loss"), (2, accuracies, "accuracy")):
        axes = figure.add_subplot(1, 2, place)
        axes.plot(values)
        axes.set_ylabel(f"Average {title} per batch")
        axes.set_xticks([])
    plt.savefig(path)
    plt.close()


if __name__ == "__main__":
    main()
