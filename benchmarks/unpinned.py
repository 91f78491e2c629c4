"""Run stages.train without the settings that make its bits the same on every machine.

This shows what those settings cost.

python -m benchmarks.unpinned takes the arguments of python -m stages.train.
"""

from stages import train
from stages.common import errors
from stages.model import numerics

numerics.SETTINGS.clear()  # main() calls pin(), which then has nothing to set

if __name__ == "__main__":
    errors.run(train.main)
