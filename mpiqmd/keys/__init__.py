"""Keys of the input file: the kinds of value they hold, how one is declared, and who may declare some.

``values``, ``composites`` and ``kinds`` read what was written; ``spec`` declares a key; ``registry`` collects things that are
chosen by name and bring keys of their own, and ``registries`` says which such collections there are.  What declares keys may
import this, wherever it stands; ``config`` makes the sections and the parser from the declarations.
"""
