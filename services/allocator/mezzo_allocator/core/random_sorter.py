"""Who is served next where that is random (`--role_sorter=random`, `--framework_sorter=random`)."""

from __future__ import annotations

import numpy as np

from mezzo_allocator.core.arrays import Sampler
from mezzo_allocator.core.kernel import draw
from mezzo_allocator.core.policy import Sorter
from mezzo_allocator.core.roles import RoleTree

# The first numbers of seeds that lie close to each other are close to each other.
NUMBERS_PASSED_OVER = 16


class RandomSorter:
    """The weights of all leaves of the role tree, and a sequence of random numbers that the seed determines.

    As with the random sorter of Mesos, a role's chance is its weight's part among its active siblings, times the
    chance of its parent; its own frameworks stand beside its child roles with weight 1.
    """

    def __init__(self, roles: Sorter, frameworks: Sorter, seed: int) -> None:
        above, below = divmod(seed, 2147483562)
        self.arrays = Sampler(
            roles=roles is Sorter.RANDOM,
            frameworks=frameworks is Sorter.RANDOM,
            leaves=np.zeros(0, dtype=np.int32),
            cumulative=np.zeros(0, dtype=np.float64),
            state=np.array([1 + below, 1 + above % 2147483398], dtype=np.int64),
        )
        self._orders = 0
        for _ in range(NUMBERS_PASSED_OVER):
            draw(self.arrays)

    def refresh(self, tree: RoleTree) -> None:
        """Update who is active, and with what weight; it costs something only where that has changed."""
        if self.arrays.roles and self._orders != tree.orders:
            leaves, weights = tree.weights_of_leaves()
            self.arrays = self.arrays._replace(leaves=leaves, cumulative=np.cumsum(weights))
            self._orders = tree.orders
