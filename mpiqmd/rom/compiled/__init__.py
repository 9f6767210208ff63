"""The grid-free reduced model: everything an online step needs, small and replicated.

Offline (``compile_model``, distributed over the grid) every term of the energy becomes an array over the modes:

    kinetic, pinned atoms      r x r matrix
    moving atoms               Chebyshev tables of their matrix elements        (``chebyshev``)
    Hartree, xc to 2nd order   matrix over pair products of modes               (``pairs``, ``expansion``)
    rest of xc                 quadrature with non-negative weights             (``quadrature``)

Online (``energy``, ``solver``) nothing is left whose size depends on the grid.
"""
