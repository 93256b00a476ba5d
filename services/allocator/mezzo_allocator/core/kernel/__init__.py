"""The inner loop of a cycle: which client takes what of which agent.

The functions here work on the arrays of `mezzo_allocator.core.arrays` alone and are written so that they run both as
plain Python, which is the reference, and compiled (`mezzo_allocator.adapters.compiler`), decision by decision the same.

A node is a role, the leaf "." under a role that gathers the role's own clients, or a client: one framework in one
role. Children of a node are kept in share order, and an allocation moves only the nodes on its path.
Where roles or frameworks are served at random the order is kept all the same, for those who look at shares.
"""

from mezzo_allocator.core.kernel.allowance import consume, measure_allowance, refresh_quota, within_nested_limits
from mezzo_allocator.core.kernel.compilation import COMPILABLE
from mezzo_allocator.core.kernel.decide import decide
from mezzo_allocator.core.kernel.order import precedes, refresh_path, share_of
from mezzo_allocator.core.kernel.sampling import draw

__all__ = [
    "COMPILABLE",
    "consume",
    "decide",
    "draw",
    "measure_allowance",
    "precedes",
    "refresh_path",
    "refresh_quota",
    "share_of",
    "within_nested_limits",
]
