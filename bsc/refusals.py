"""What cannot be compiled, known from the pipeline and the target before any work is done."""

from collections.abc import Sequence

from bsc.errors import DoesNotFitError, UsageError
from bsc.hardware.target import Adc
from bsc.ir.passbase import Pass
from bsc.mapping.layer import UNIFORM_POLICIES
from passes.assign_adc import ISAAC_BITS, AssignAdc
from passes.budget_adc import BudgetAdc
from passes.calibrate_adc import CalibrateAdc


def require_possible(pipeline: str, steps: Sequence[Pass], *, budget: bool) -> None:
    """Refuse an accuracy budget for a pipeline that cannot keep one; `steps` are those of the text.

    Raises:
        UsageError: BSC201.
    """
    if budget and not any(isinstance(step, BudgetAdc) for step in steps):
        raise UsageError(
            "BSC201",
            "--max-accuracy-drop needs the pass 'budget-adc'",
            seen=f"--passes {pipeline!r}",
            fix="put 'budget-adc' in place of the pass that assigns ADC resolutions, or leave --passes out",
        )


def require_offered(steps: Sequence[Pass], adc: Adc) -> None:
    """Refuse resolutions that differ where the target has one for all.

    Raises:
        DoesNotFitError: BSC403.
    """
    for step in steps:
        if isinstance(step, AssignAdc | CalibrateAdc | BudgetAdc):
            _require_offered(step, adc)


def no_data_to_cut_by() -> UsageError:
    """For slices that are to be cut by measured error, with nothing to measure it on."""
    return UsageError(
        "BSC201",
        "--cut adaptive needs calibration data",
        seen="no --calib",
        fix="add --calib FILE.npz, or give the bits of each slice, as --cut 4-2-2",
    )


def _require_offered(step: AssignAdc | CalibrateAdc | BudgetAdc, adc: Adc) -> None:
    policy = step.policy if isinstance(step, AssignAdc) else step.name.removesuffix("-adc")
    uniform = {"isaac": ISAAC_BITS, "fixed": step.bits}.get(policy) if isinstance(step, AssignAdc) else None
    if adc.granularity.value == "fixed":
        fits, fix = uniform == adc.bits, f"choose --adc fixed={adc.bits}"
    else:
        fits = policy in UNIFORM_POLICIES or adc.offers(step.granularity)
        fix = f"choose --granularity {adc.granularity.value}"
    if not fits:
        seen = f"{policy} resolutions for each {step.granularity}" if uniform is None else f"{uniform} bits"
        offered = f"fixed at {adc.bits} bits" if adc.granularity.value == "fixed" else f"per {adc.granularity.value}"
        raise DoesNotFitError(
            "BSC403",
            f"pass '{step.name}': the target's ADCs cannot have these resolutions; theirs are {offered}",
            seen=seen,
            fix=f"{fix}, or another --hw",
        )
