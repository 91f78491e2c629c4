"""Before any test makes a tensor."""

from stages.common import numerics

numerics.pin()
