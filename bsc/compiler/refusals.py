"""What cannot be compiled, known from the pipeline, the options and the target before any work is done."""

from collections.abc import Iterator

from bsc.compiler.options import CompileOptions
from bsc.compiler.steps import Steps
from bsc.errors import BscError, DoesNotFitError, UsageError
from bsc.hardware.target import Adc
from bsc.ir.adc_pass import NO_MOMENTS, needs_data
from passes.place import Place


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
    if options.max_accuracy_drop is not None and not any(step.has_noise_price for step in steps.adc):
        yield _no_budget(options.pipeline)
    yield from not_offered(run, adc)
    yield from _never_packed(run)
    if options.adaptive_cut and options.calibration is None:
        yield _no_data_to_cut_by()
    if options.calibration is None:
        yield from (needs_data(step.name, NO_MOMENTS) for step in run.all if step.input_vectors())
        yield from (needs_data(step.name) for step in run.adc if step.observes() is not None)


def not_offered(steps: Steps, adc: Adc) -> Iterator[DoesNotFitError]:
    """BSC403 for each pass whose resolutions differ where the target has one for all."""
    return (error for step in steps.adc if (error := step.not_offered(adc)) is not None)


def _never_packed(steps: Steps) -> Iterator[UsageError]:
    """BSC201 for crossbars to be shared by layers whose converters cannot tell columns apart."""
    packs = any(isinstance(step, Place) and step.pack == "yes" for step in steps.place)
    for step in steps.adc if packs else ():
        if step.granularity != "column" and step.uniform_bits is None:
            yield UsageError(
                "BSC201",
                "--pack needs a resolution for each column, or one for all",
                seen=f"one for each {step.granularity}, which layers on one crossbar would have to share",
                fix="leave --pack out, or choose --granularity column where the target's ADCs can",
            )


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
