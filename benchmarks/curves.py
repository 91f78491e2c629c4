"""The picture of accuracy against time that `python -m benchmarks.speed --curves` draws."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

Curve = Sequence[tuple[float, float]]  # after each epoch: seconds since the start, test accuracy

COLOURS = ("#767676", "#0072B2", "#D55E00", "#009E73")  # colour-blind readers can tell them apart
SECONDS = (5, 10, 20, 40, 80, 160)
PERCENT = (90, 95, 98, 99, 99.5)


def draw(curves: Mapping[str, Curve]) -> Figure:
    """Draw the curves, each with its name at its end.

    The error is on a logarithmic scale: from 99.0 to 99.5 % is as far as from 98 to 99 %.
    """
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for colour, (name, curve) in zip(COLOURS, curves.items(), strict=True):
        seconds, accuracies = zip(*curve, strict=True)
        errors = [100 - 100 * accuracy for accuracy in accuracies]
        axes.plot(seconds, errors, "o-", color=colour, markersize=4)
        label = f"{name}\n{100 * accuracies[-1]:.2f} %"
        axes.annotate(
            label, (seconds[-1], errors[-1]), (7, 0), "data", "offset points",
            color=colour, va="center", fontsize=9,
        )  # fmt: skip
    axes.set(xscale="log", yscale="log", xlabel="Seconds since the start of the process")
    axes.set_title("Test accuracy after each epoch (%)", loc="left", fontsize=11)
    axes.invert_yaxis()
    axes.xaxis.set_major_locator(FixedLocator(SECONDS))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_major_locator(FixedLocator([100 - percent for percent in PERCENT]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 - value:g}"))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_locator(NullLocator())
    axes.margins(x=0.12)
    axes.grid(color="#DDDDDD", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
