"""Tables of what a plan costs, beside its baselines and under every ADC law."""

from rich.table import Table

from bsc.cost.compare import Comparison
from bsc.cost.price import ADC_ACTION, Cost, ratio
from bsc.report.text import add_row, new_table
from bsc.units import format_ratio, format_si

ACTION_LABELS = {
    "adc_conversion": "ADC conversions",
    "dac_row": "DAC row drives",
    "crossbar_cell": "crossbar reads",
    "sample_hold": "sample and hold",
    "shift_add": "shift and add",
    "input_register_bit": "input register",
    "output_register_word": "output register",
    "edram_bit": "eDRAM buffer",
    "bus_bit": "bus",
}


AREA_LABELS = {
    "adc": "ADC area",
    "dac": "DAC area",
    "crossbar": "crossbar area",
    "sample_hold": "sample-and-hold area",
    "ima_rest": "rest of the IMAs",
    "tile_rest": "rest of the tiles",
}


def cost_table(comparison: Comparison) -> Table:
    """Energy by action, latency, and area by part."""
    plan, uniform, offset = comparison.plan, comparison.uniform, comparison.offset
    names = ("one inference", "this plan", "uniform 8 bit", "ratio", "ISAAC offset 8 bit", "ratio")
    table = new_table(f"Cost, ADC law '{comparison.law.name}'", names)

    def row(name: str, values: tuple[float | None, float | None, float | None], unit: str) -> None:
        ours, flat, shifted = values
        add_row(
            table,
            name,
            format_si(ours, unit),
            format_si(flat, unit),
            format_ratio(ratio(flat, ours)),
            format_si(shifted, unit),
            format_ratio(ratio(shifted, ours)),
        )

    costs = (plan, uniform, offset)
    for action in plan.actions:
        values = [cost.action_energy_j(action) for cost in costs]
        row(ACTION_LABELS[action], (values[0], values[1], values[2]), "J")
    table.add_section()
    row("energy", (plan.total_energy_j, uniform.total_energy_j, offset.total_energy_j), "J")
    row("latency", (plan.total_latency_s, uniform.total_latency_s, offset.total_latency_s), "s")
    table.add_section()
    for part in plan.area_m2 or {}:
        areas = [_area(cost, part) for cost in costs]
        row(AREA_LABELS[part], (areas[0], areas[1], areas[2]), "m²")
    row("area", (plan.total_area_m2, uniform.total_area_m2, offset.total_area_m2), "m²")
    counts = ((cost.crossbars, cost.imas, cost.tiles) for cost in costs)
    shown = [f"{crossbars} / {imas} / {tiles}" for crossbars, imas, tiles in counts]
    add_row(table, "crossbars / IMAs / tiles", shown[0], shown[1], "", shown[2], "")
    return table


def layer_cost_table(comparison: Comparison) -> Table:
    """Energy, latency and area by layer."""
    plan, uniform = comparison.plan, comparison.uniform
    names = ("layer", "ADC energy", "energy", "uniform 8 bit", "ratio", "latency", "area")
    table = new_table("Cost by layer", names)
    for name, actions in plan.energy_j.items():
        ours, flat = plan.layer_energy_j(name), uniform.layer_energy_j(name)
        add_row(
            table,
            name,
            format_si(actions[ADC_ACTION], "J"),
            format_si(ours, "J"),
            format_si(flat, "J"),
            format_ratio(ratio(flat, ours)),
            format_si(plan.latency_s[name], "s"),
            format_si(None if plan.layer_area_m2 is None else plan.layer_area_m2[name], "m²"),
        )
    return table


def _area(cost: Cost, part: str) -> float | None:
    return None if cost.area_m2 is None else cost.area_m2[part]


def law_table(comparison: Comparison) -> Table:
    """Savings under every ADC law."""
    names = ("ADC law", "energy of N bits", "vouched for", "ADC only", "total")
    table = new_table("Saving over uniform 8 bit under every ADC law", names, 3)
    for each in comparison.spread:
        low, high = each.law.valid_bits
        extrapolated = ", extrapolated here" if each.extrapolated else ""
        add_row(
            table,
            each.law.name,
            each.law.formula,
            f"{low}..{high} bit{extrapolated}",
            format_ratio(each.adc),
            format_ratio(each.total),
        )
    return table
