"""What toy surfaces of tests have in common: one geometry at a time, and no memory unless they say so."""

from mpiqmd.molecule.surface import Memory, one_by_one


class ToySurface:
    """A surface that says what there is at one geometry, ``at(positions_av, memory)``; other errors than ours are raised."""

    def fresh(self, company=1):
        return Memory()

    def evaluate(self, positions_bav, memories):
        return one_by_one(self.at, positions_bav, memories)
