"""Tables of what a plan costs, beside its baselines and under every ADC law."""

from bsc.report.beside import BesideRow, beside_table
from bsc.report.document import PlanCost, ReportDocument
from bsc.report.table import Table
from bsc.report.text import new_table
from bsc.units import format_ratio, format_si, ratio


def cost_table(cost: PlanCost) -> Table:
    """Energy by action, latency, and area by part; ratios say how many times less the plan takes."""
    spends = (cost.plan, *cost.baselines)

    def row(label: str, values: list[float | None], unit: str) -> BesideRow:
        ours, *baselines = values
        beside = tuple((format_si(each, unit), ratio(each, ours)) for each in baselines)
        return BesideRow(label=label, plan=format_si(ours, unit), baselines=beside)

    levels = cost.levels[:-1]
    ours, *others = (" / ".join(str(spend.units[level.name]) for level in levels) for spend in spends)
    units = BesideRow(
        label=" / ".join(level.plural for level in levels),
        plan=ours,
        baselines=tuple((each, None) for each in others),
        has_ratios=False,
    )
    sections = (
        [row(each.label, [spend.energy_by_action_j.get(each.name) for spend in spends], "J") for each in cost.actions],
        [
            row("energy", [spend.energy_j for spend in spends], "J"),
            row("latency", [spend.latency_s for spend in spends], "s"),
        ],
        [
            *(
                row(part.label, [(spend.area_by_part_m2 or {}).get(part.name) for spend in spends], "m²")
                for part in cost.areas
                if part.name in (cost.plan.area_by_part_m2 or {})
            ),
            row("area", [spend.area_m2 for spend in spends], "m²"),
            units,
        ],
    )
    return beside_table(f"Cost, ADC law '{cost.adc_law}'", "one inference", sections)


def layer_cost_table(report: ReportDocument) -> Table:
    """Energy, latency and area by layer."""
    names = ("layer", "ADC energy", "energy", "uniform 8 bit", "ratio", "latency", "area")
    table = new_table("Cost by layer", names)
    for layer in report.plan.layers:
        ours, flat = report.cost.plan.layers[layer.name], report.cost.uniform_8_bit.layers[layer.name]
        table.add_row(
            layer.name,
            format_si(ours.adc_energy_j, "J"),
            format_si(ours.energy_j, "J"),
            format_si(flat.energy_j, "J"),
            format_ratio(ratio(flat.energy_j, ours.energy_j)),
            format_si(ours.latency_s, "s"),
            format_si(ours.area_m2, "m²"),
        )
    return table


def law_table(cost: PlanCost) -> Table:
    """Savings under every ADC law."""
    names = ("ADC law", "energy of N bits", "valid range", "ADC only", "layers", "full total")
    table = new_table("Saving over uniform 8 bit under every ADC law", names, 3)
    for name in cost.adc_law_names:
        law = cost.adc_laws[name]
        low, high = law.valid_bits
        extrapolated = ", extrapolated here" if law.extrapolated else ""
        table.add_row(
            name,
            law.formula,
            f"{low}..{high} bit{extrapolated}",
            format_ratio(law.adc_ratio),
            format_ratio(law.total_ratio),
            format_ratio(law.full_ratio),
        )
    return table
