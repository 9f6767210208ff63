"""The reduced model without grid and without products of modes: its online cost hardly depends on how many modes there are.

    unknowns      latent coordinates of the occupied subspace about a reference        (``latent``, ``start``, ``coordinates``)
    density       seen at a learned grid of some hundred to a few thousand points      (``points``)
    terms         one-electron matrices and tables of the ions, density functions that interact, xc at points
                                                                                       (``energy`` names the file of each)

Offline (``compile``, distributed over the grid) everything becomes small replicated arrays (``data``); online (``energy``,
``solver``) nothing is left whose size depends on the grid.
"""
