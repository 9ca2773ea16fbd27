"""What a fine-tuning run may be told; the command line and the TOML files of examples/paper/ both make it."""

from typing import Annotated, Literal

from pydantic import Field

from bsc.numeric.quantizer import Scale
from bsc.toml_record import Record

Objective = Literal["none", "l1", "bl1", "bl1-weighted", "adc"]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
Budget = Annotated[tuple[Annotated[int, Field(ge=1, le=16)], ...], Field(strict=False)]

# The paper's code: alpha 10 (MNIST) for l1, 0.5 for bl1. The others were chosen on MNIST (examples/paper/).
DEFAULT_ALPHA: dict[Objective, float] = {"none": 0.0, "l1": 10.0, "bl1": 0.5, "bl1-weighted": 0.1, "adc": 0.1}


class FinetuneOptions(Record):
    """Settings of one run; every result follows from these, the model and the data.

    Weights that are zero in the given model count as pruned, and stay zero.

    Attributes:
        objective: what is added to the task's loss, `bsc.train.objectives`.
        alpha: its weight; None takes `DEFAULT_ALPHA`.
        epochs: passes over the training data.
        batch: samples a step, over all processes together.
        lr: learning rate at the start.
        schedule: "constant", "cosine" down to 0, or "halve" every `halve_every` epochs.
        halve_every: epochs between two halvings.
        optimizer: "sgd" with momentum, or "adam".
        momentum: of "sgd".
        seed: of the order of samples and of augmentation.
        prune_below: weights smaller than this are set to zero before the first epoch and stay zero (the paper: 0.01).
        sparsity: share of each layer's weights, its smallest, that is pruned likewise.
        layer_sparsity: the same for single layers, by name.
        prune_epochs: epochs over which sparsity is reached; 0 prunes at once.
        bits: magnitude bits of a weight code, as in the pass `quantize`.
        activation_bits: bits of an input code, as in `quantize`.
        scale: as in `quantize`.
        bits_per_cell: as in the pass `slice-bits`.
        dac_bits: as in `slice-bits`.
        rows: wordlines of a crossbar, as in the pass `tile`.
        slice_weights: weight of each slice under "bl1-weighted", top slice first; () for powers of the slice base.
        budget: ADC bits of each slice under "adc", top slice first, such as (1, 3, 3, 3).
        layer_budgets: the same for single layers, by name.
        project: with "adc", drop digits until the budget is proved, in every step and in the result.
        project_from: share of the run, 0 to 1, after which projection reaches the budget; before, it tightens to it.
        headroom: with `project`, coarsen each layer's weight step by 2**headroom against that of the given model.
        noise: device on which training steps run, by name or file: codes and results are drawn as its cells and
            converters would give them; None for exact steps.
        read_at: with noise, time of the read after programming in seconds, for drift.
        augment: "flip-crop" mirrors and shifts images by up to 4 pixels, "crop" only shifts by up to 2.
        precision: "bf16" computes training steps in bfloat16 where PyTorch's autocast does; weights, masks, codes and
            every reported figure stay in 32 bits. Faster on processors and GPUs that multiply bfloat16, and more than
            ten times slower on others; "auto" computes in it on the former only, `bsc.train.precision`.
        device: such as "cpu", "cuda" or "cuda:1".
        threads: of PyTorch on the CPU; None for all cores, shared with the other processes of the run. The result can
            depend on it in the last bits.
    """

    objective: Objective = "adc"
    alpha: NotNegative | None = None
    epochs: Count = 10
    batch: Count = 128
    lr: Positive = 1e-3
    schedule: Literal["constant", "cosine", "halve"] = "cosine"
    halve_every: Count = 30
    optimizer: Literal["sgd", "adam"] = "adam"
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    seed: Annotated[int, Field(ge=0)] = 0
    prune_below: NotNegative = 0.0
    sparsity: Share = 0.0
    layer_sparsity: dict[str, Share] = Field(default_factory=dict)
    prune_epochs: Annotated[int, Field(ge=0)] = 0
    bits: Annotated[int, Field(ge=1, le=15)] = 8
    activation_bits: Annotated[int, Field(ge=2, le=16)] = 8
    scale: Scale = "power-of-two"
    bits_per_cell: Annotated[int, Field(ge=1, le=8)] = 2
    dac_bits: Annotated[int, Field(ge=1, le=8)] = 1
    rows: Count = 128
    slice_weights: Annotated[tuple[NotNegative, ...], Field(strict=False)] = ()
    budget: Budget = (1, 3, 3, 3)
    layer_budgets: dict[str, Budget] = Field(default_factory=dict)
    project: bool = False
    project_from: Annotated[float, Field(ge=0, le=1)] = 0.5
    headroom: Annotated[int, Field(ge=0, le=8)] = 0
    noise: Annotated[str, Field(min_length=1)] | None = None
    read_at: Positive | None = None
    augment: Literal["none", "flip-crop", "crop"] = "none"
    precision: Literal["fp32", "bf16", "auto"] = "fp32"
    device: Annotated[str, Field(min_length=1)] = "cpu"
    threads: Count | None = None

    @property
    def slices(self) -> int:
        """S, slices of a weight code."""
        return -(-self.bits // self.bits_per_cell)

    def caps(self, layer: str) -> tuple[int, ...]:
        """Largest column sums of a layer that its budget reads without loss, least significant slice first."""
        drive = (1 << self.dac_bits) - 1
        return tuple(((1 << bits) - 1) // drive for bits in reversed(self.layer_budgets.get(layer, self.budget)))

    @property
    def weight_of_objective(self) -> float:
        """`alpha`, or the objective's default; 0 for "none"."""
        if self.objective == "none":
            return 0.0
        return DEFAULT_ALPHA[self.objective] if self.alpha is None else self.alpha
