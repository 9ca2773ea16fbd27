"""Tables of what a plan costs, beside its baselines and under every ADC law."""

from rich.table import Table

from bsc.cost.compare import Comparison
from bsc.cost.price import Cost, ratio
from bsc.hardware.target import Target, label
from bsc.report.text import add_row, new_table
from bsc.units import format_ratio, format_si


def action_labels(target: Target) -> dict[str, str]:
    """What the actions of a target are called, in the order of reports."""
    return {name: label(name, action) for name, action in target.actions().items()}


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
    for action, text in action_labels(comparison.target).items():
        values = [cost.action_energy_j(action) for cost in costs]
        row(text, (values[0], values[1], values[2]), "J")
    table.add_section()
    row("energy", (plan.total_energy_j, uniform.total_energy_j, offset.total_energy_j), "J")
    row("latency", (plan.total_latency_s, uniform.total_latency_s, offset.total_latency_s), "s")
    table.add_section()
    parts = comparison.target.areas()
    for part in plan.area_m2 or {}:
        areas = [_area(cost, part) for cost in costs]
        row(label(part, parts[part]), (areas[0], areas[1], areas[2]), "m²")
    row("area", (plan.total_area_m2, uniform.total_area_m2, offset.total_area_m2), "m²")
    levels = comparison.target.level[:-1]
    shown = [" / ".join(str(cost.units[level.name]) for level in levels) for cost in costs]
    add_row(table, " / ".join(level.several for level in levels), shown[0], shown[1], "", shown[2], "")
    return table


def layer_cost_table(comparison: Comparison) -> Table:
    """Energy, latency and area by layer."""
    plan, uniform = comparison.plan, comparison.uniform
    names = ("layer", "ADC energy", "energy", "uniform 8 bit", "ratio", "latency", "area")
    table = new_table("Cost by layer", names)
    for name in plan.energy_j:
        ours, flat = plan.layer_energy_j(name), uniform.layer_energy_j(name)
        add_row(
            table,
            name,
            format_si(plan.layer_adc_energy_j(name), "J"),
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
