"""How Python's collector is set up for a process that holds very many agents.

The collector looks at everything that lives, again and again, to find circles among it: with a million agents that
stops the process for a third of a second. What an agent is made of forms no circle once it has ended, so there is
nothing to be found there. A node that has started calls `settle_memory` once: what lives by then is not looked at again.
"""

import gc
from typing import Final

THRESHOLDS: Final = (20_000, 2, 50)
"""New objects before they are looked at; looks before the survivors are; and before all that is not settled is.

The first two multiply to what one look of the second kind covers: 60,000 objects, which take under 10 ms. Python's own
700 makes starting many agents three times slower.
"""


def settle_memory() -> int:
    """Take what lives now out of the collector's sight, and let it look less often at what is new.

    What it trades: a circle of objects that becomes garbage after it was settled keeps its memory, until this is called
    again. What falls away without a circle, as ended agents and handled messages do, is freed at once as before. Up to
    20,000 new objects in circles wait for the first look, some megabytes.

    Call it when the process has started and whenever it is idle after it has grown much. It looks at everything first:
    half a second for each million agents, in which nothing else runs. It holds for the whole process, so only
    a program calls it, never a library.

    Returns:
        How many objects are settled.
    """
    gc.unfreeze()  # circles that have become garbage since the last time
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
    return gc.get_freeze_count()
