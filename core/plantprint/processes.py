"""Process emissions: carbonates by stoichiometry, clinker, glass and lime by composition, methane of waste water (IPCC).

Exact rationals; molar masses as the IPCC guidelines use them.
"""

from dataclasses import dataclass
from fractions import Fraction

from plantprint.gwp import Number

CO2_MOLAR_G = Fraction("44.0095")
CAO_MOLAR_G = Fraction("56.0774")
KILN_DUST_CORRECTION = Fraction("1.02")  # IPCC 2006 V3 p. 2.12, where dust is not recycled

# IPCC 2006 V3 table 2.1: molar mass in g/mol, and how many CO2 one formula unit frees.
CARBONATES: dict[str, tuple[Fraction, int]] = {
    "caco3": (Fraction("100.0869"), 1),
    "mgco3": (Fraction("84.3139"), 1),
    "dolomite": (Fraction("184.4008"), 2),
    "feco3": (Fraction("115.8539"), 1),
    "mnco3": (Fraction("114.9470"), 1),
    "na2co3": (Fraction("106.0685"), 1),
}


def co2_per_carbonate(molar_mass_g: Number, co2_units: Number = 1) -> Fraction:
    """Tonnes of CO2 per tonne of a carbonate that is calcined completely."""
    if molar_mass_g <= 0:
        raise ValueError(f"a molar mass is above 0, not {molar_mass_g}")
    return Fraction(co2_units) * CO2_MOLAR_G / Fraction(molar_mass_g)


def carbonate_co2(carbonate: str, mass: Number, calcined_share: Number = 1) -> Fraction:
    """CO2 in the unit of `mass`; raises `ValueError` for a carbonate that `CARBONATES` does not hold."""
    if carbonate not in CARBONATES:
        raise ValueError(f"{carbonate!r} is none of the carbonates known here: {', '.join(CARBONATES)}")
    return Fraction(mass) * co2_per_carbonate(*CARBONATES[carbonate]) * _share("calcined", calcined_share)


def clinker_co2(
    mass: Number,
    cao_share: Number,
    dust_correction: Number = 1,
    co2_molar_g: Number = CO2_MOLAR_G,
    cao_molar_g: Number = CAO_MOLAR_G,
) -> Fraction:
    """CO2 of clinker whose `cao_share` came from carbonate (IPCC 2006 V3 eq. 2.4), in the unit of `mass`."""
    per_cao = Fraction(co2_molar_g) / Fraction(cao_molar_g)
    return Fraction(mass) * _share("CaO", cao_share) * per_cao * Fraction(dust_correction)


def glass_co2(mass: Number, per_glass: Number, cullet_share: Number = 0) -> Fraction:
    """CO2 of glass: the carbonate part of the melt falls with the share of cullet (IPCC 2006 V3 eq. 2.13)."""
    return Fraction(mass) * Fraction(per_glass) * (1 - _share("cullet", cullet_share))


@dataclass(frozen=True, slots=True)
class WasteWater:
    """A period of a treatment plant: volume in m3, COD in kg/m3; `bo` is kg CH4 per kg COD, `mcf` the anaerobic part."""

    volume_m3: Number
    cod_in_kg_per_m3: Number
    cod_sludge_kg_per_m3: Number
    mcf: Number
    bo: Number = Fraction("0.25")
    recovered_ch4_kg: Number = 0


# IPCC 2006 V5 table 6.8: the part of the potential methane that a kind of treatment sets free.
METHANE_CORRECTION: dict[str, Fraction] = {
    "untreated": Fraction("0.1"),
    "aerobic_well_managed": Fraction(0),
    "aerobic_overloaded": Fraction("0.3"),
    "sludge_digester": Fraction("0.8"),
    "anaerobic_reactor": Fraction("0.8"),
    "shallow_lagoon": Fraction("0.2"),
    "deep_lagoon": Fraction("0.8"),
}


def wastewater_ch4(water: WasteWater) -> Fraction:
    """Kg of biogenic CH4 (IPCC 2006 V5 eq. 6.4); raises `ValueError` when more is recovered than can form."""
    treated = Fraction(water.cod_in_kg_per_m3) - Fraction(water.cod_sludge_kg_per_m3)
    if treated < 0:
        raise ValueError("more COD leaves with the sludge than came in: check both concentrations")
    formed = Fraction(water.volume_m3) * treated * Fraction(water.bo) * _share("anaerobic", water.mcf)
    freed = formed - Fraction(water.recovered_ch4_kg)
    if freed < 0:
        raise ValueError(
            f"{water.recovered_ch4_kg} kg CH4 recovered is more than the {float(formed):g} kg that can form"
        )
    return freed


def _share(name: str, value: Number) -> Fraction:
    share = Fraction(value)
    if not 0 <= share <= 1:
        raise ValueError(f"the {name} share is within 0 and 1, not {float(share):g}")
    return share
