"""stages.train without the settings that make its bits equal everywhere, to measure their price.

python -m benchmarks.unpinned takes the arguments of python -m stages.train.
"""

from stages import train
from stages.common import errors
from stages.model import numerics

numerics.SETTINGS.clear()  # pin() reads them when main() calls it

if __name__ == "__main__":
    errors.run(train.main)
