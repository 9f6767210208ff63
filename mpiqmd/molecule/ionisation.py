"""First ionisation energies of the free atoms H to Rn, which tell how fast the density of an atom falls.

NIST Atomic Spectra Database, ionization energies data form (A. Kramida, Yu. Ralchenko, J. Reader and NIST ASD Team),
https://physics.nist.gov/asd, rounded to 0.01 eV.
"""

from __future__ import annotations

from mpiqmd.units import HARTREE_IN_EV

_IN_EV = """
H 13.60   He 24.59  Li 5.39   Be 9.32   B 8.30    C 11.26   N 14.53   O 13.62   F 17.42   Ne 21.56
Na 5.14   Mg 7.65   Al 5.99   Si 8.15   P 10.49   S 10.36   Cl 12.97  Ar 15.76  K 4.34    Ca 6.11
Sc 6.56   Ti 6.83   V 6.75    Cr 6.77   Mn 7.43   Fe 7.90   Co 7.88   Ni 7.64   Cu 7.73   Zn 9.39
Ga 6.00   Ge 7.90   As 9.79   Se 9.75   Br 11.81  Kr 14.00  Rb 4.18   Sr 5.69   Y 6.22    Zr 6.63
Nb 6.76   Mo 7.09   Tc 7.12   Ru 7.36   Rh 7.46   Pd 8.34   Ag 7.58   Cd 8.99   In 5.79   Sn 7.34
Sb 8.61   Te 9.01   I 10.45   Xe 12.13  Cs 3.89   Ba 5.21   La 5.58   Ce 5.54   Pr 5.47   Nd 5.53
Pm 5.58   Sm 5.64   Eu 5.67   Gd 6.15   Tb 5.86   Dy 5.94   Ho 6.02   Er 6.11   Tm 6.18   Yb 6.25
Lu 5.43   Hf 6.83   Ta 7.55   W 7.86    Re 7.83   Os 8.44   Ir 8.97   Pt 8.96   Au 9.23   Hg 10.44
Tl 6.11   Pb 7.42   Bi 7.29   Po 8.42   At 9.32   Rn 10.75
"""

_FIELDS = _IN_EV.split()

IONISATION_ENERGIES: dict[str, float] = {
    symbol: float(energy) / HARTREE_IN_EV for symbol, energy in zip(_FIELDS[0::2], _FIELDS[1::2], strict=True)
}
"""First ionisation energy in Ha, by symbol."""
