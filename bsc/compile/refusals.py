"""What cannot be compiled, known from the pipeline, the options and the target before any work is done."""

from collections.abc import Iterator, Sequence

from bsc.compile.options import CompileOptions
from bsc.compile.steps import ADC_PASSES, Steps
from bsc.errors import BscError, DoesNotFitError, UsageError
from bsc.hardware.target import Adc
from bsc.ir.layer import UNIFORM_POLICIES
from bsc.ir.passbase import NO_MOMENTS, Pass, needs_data
from passes.assign_adc import ISAAC_BITS, AssignAdc
from passes.budget_adc import BudgetAdc
from passes.calibrate_adc import CalibrateAdc


def refusals(steps: Steps, options: CompileOptions, adc: Adc) -> Iterator[BscError]:
    """Every reason to refuse a compilation unseen, the first to be told first.

    Args:
        steps: the whole pipeline.
        options: of the compilation.
        adc: the target's converters.

    Raises:
        UsageError: BSC205 if the pass to stop after is none of the steps.
    """
    run = steps.until(options.stop_after)
    if options.max_accuracy_drop is not None and not any(isinstance(step, BudgetAdc) for step in steps.all):
        yield _no_budget(options.pipeline)
    yield from not_offered(run.all, adc)
    if options.adaptive_cut and options.calibration is None:
        yield _no_data_to_cut_by()
    if options.calibration is None:
        yield from (needs_data(step.name) for step in run.all if step.observes() is not None)
        yield from (needs_data(step.name, NO_MOMENTS) for step in run.all if step.input_vectors())


def not_offered(steps: Sequence[Pass], adc: Adc) -> Iterator[DoesNotFitError]:
    """BSC403 for each pass whose resolutions differ where the target has one for all."""
    for step in steps:
        if isinstance(step, ADC_PASSES) and (error := _not_offered(step, adc)) is not None:
            yield error


def _no_budget(pipeline: str) -> UsageError:
    return UsageError(
        "BSC201",
        "--max-accuracy-drop needs the pass 'budget-adc'",
        seen=f"--passes {pipeline!r}",
        fix="put 'budget-adc' in place of the pass that assigns ADC resolutions, or leave --passes out",
    )


def _no_data_to_cut_by() -> UsageError:
    return UsageError(
        "BSC201",
        "--cut adaptive needs calibration data",
        seen="no --calib",
        fix="add --calib FILE.npz, or give the bits of each slice, as --cut 4-2-2",
    )


def _not_offered(step: AssignAdc | CalibrateAdc | BudgetAdc, adc: Adc) -> DoesNotFitError | None:
    policy = step.policy if isinstance(step, AssignAdc) else step.name.removesuffix("-adc")
    uniform = {"isaac": ISAAC_BITS, "fixed": step.bits}.get(policy) if isinstance(step, AssignAdc) else None
    if adc.granularity.value == "fixed":
        fits, fix = uniform == adc.bits, f"choose --adc fixed={adc.bits}"
    else:
        fits = policy in UNIFORM_POLICIES or adc.offers(step.granularity)
        fix = f"choose --granularity {adc.granularity.value}"
    if fits:
        return None
    seen = f"{policy} resolutions for each {step.granularity}" if uniform is None else f"{uniform} bits"
    offered = f"fixed at {adc.bits} bits" if adc.granularity.value == "fixed" else f"per {adc.granularity.value}"
    return DoesNotFitError(
        "BSC403",
        f"pass '{step.name}': the target's ADCs cannot have these resolutions; theirs are {offered}",
        seen=seen,
        fix=f"{fix}, or another --hw",
    )
