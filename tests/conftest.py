"""Pin the arithmetic before any test makes a tensor."""

from stages.model import numerics

numerics.pin()
