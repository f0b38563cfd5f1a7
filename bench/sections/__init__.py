"""What script/bench measures. A section is a module with PARTS: functions of (stage, report, scale),
each with a stage of its own, so that one that fails takes no other with it."""

import dataclasses

MIB, GIB, TIB = 2**20, 2**30, 2**40


@dataclasses.dataclass(frozen=True)
class Scale:
    rounds: int = 7
    quick: bool = False  # sizes that show that everything works, not how fast

    def bytes(self, size):
        """Of one measurement's file."""
        return min(size, 8 * MIB) if self.quick else size

    def upto(self, sizes, limit):
        """The sizes of a growth that are tried."""
        return [size for size in sizes if not self.quick or size <= limit]
