"""The Kohn-Sham problem shared by the full and the reduced solver: one file in ``terms`` per energy term.

    A[{φ}, P] = w tr(P (T + V_loc + V_nl)) + E_H[ρ] + E_xc[ρ] + E_ii(R) - T_e S[P],   ρ(r) = w Σ_ij P_ij φ_i(r) φ_j(r)

with w = 2 electrons in an orbital (:mod:`~mpiqmd.kohnsham.electrons`).
:class:`~mpiqmd.kohnsham.model.KohnShamModel` holds what does not depend on the geometry, ``place`` puts the nuclei
somewhere and gives a :class:`~mpiqmd.kohnsham.model.Problem`, and every solver answers with a
:class:`~mpiqmd.kohnsham.ground_state.GroundState`.  May import ``grid``, ``molecule`` and ``parallel``.
"""
