"""The plan artefact: a folder that says which weight bit goes into which cell and what every column's ADC resolves.

    plan.json             this module's `PlanDocument`; schema in plan.schema.json
    target.json           the hardware description it was compiled for
    layers/0000.safetensors   arrays of the first layer, and so on
    digital/0000.onnx     digital operators between the layers, as ONNX models

The folder alone is enough to program crossbars, replay inference, price it and render reports. Every file is
named in plan.json with its SHA-256 and checked when it is read; nothing in it is executed or unpickled.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, Final, Literal

from numpy.typing import NDArray
from pydantic import Field, NonNegativeInt, PositiveInt

from bsc.hardware.target import Target
from bsc.ir.graph import SetInput
from bsc.mapping.arrays import described
from bsc.mapping.model import MappedModel, MappingRecord
from bsc.toml_record import Record

SCHEMA_VERSION: Final = 4
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, Field(pattern=r"^(target\.json|layers/[0-9]{4,9}\.safetensors|digital/[0-9]{4,9}\.onnx)$")]


class SetInputRecord(Record):
    """An input of the model that was made a constant; no command asks for it."""

    name: str
    dtype: str
    shape: tuple[NonNegativeInt, ...]
    values: tuple[int | float, ...] = Field(min_length=1, description="all of them in order, or one for all")

    def array(self) -> NDArray[Any]:
        """The constant."""
        return SetInput(**dict(self)).array()


class ImportRecord(Record):
    """How the imported graph was checked against the model's own file, which *exact* rests on."""

    inputs: Literal["data", "made-up", "none"] = Field(
        description="what both ran on in floating point: calibration data, made-up inputs, or none if they did not run"
    )
    samples: NonNegativeInt
    reason: str = Field(description="why they did not run; empty if they did")


class ModelRecord(Record):
    """The model a plan was made from."""

    file: str = Field(description="file name without folders")
    sha256: Sha256 = Field(description="of the file's digest followed by those of its external data files")
    opsets: dict[str, int] = Field(description="ONNX domain to version")
    constants: tuple[SetInputRecord, ...] = Field(description="inputs that were made constants")
    check: ImportRecord | None = Field(description="null where there was no model file to check against")
    notes: tuple[str, ...] = Field(description="what is worth knowing of how the model was read")


class CalibrationRecord(Record):
    """The data that input ranges were taken from."""

    sha256: Sha256 = Field(description="of the data file")
    samples: PositiveInt


class BudgetRecord(Record):
    """What a budgeted plan was found to lose, on data that no choice but the last was made with."""

    max_drop: Annotated[float, Field(ge=0, le=1)] | None = Field(
        description="accuracy it may lose, a share of samples; null if it was only measured"
    )
    held_out_sha256: Sha256 = Field(description="of the data file")
    split: bool = Field(description="held-out and calibration data are halves of one file")
    samples: PositiveInt
    lost: NonNegativeInt = Field(description="samples that only the quantised model is right on")
    gained: NonNegativeInt = Field(description="samples that only the plan is right on")
    drop: float = Field(description="(lost - gained) / samples")
    drop_bound: float = Field(description="the true drop is below it with this confidence, one-sided")
    confidence: float
    adc_law: str = Field(description="that conversions were priced by")
    device: str | None = Field(
        description="of the chips that ran the plan, each sample on one of its own; null for an exact replay"
    )


class Provenance(Record):
    """Who made a mapping, from what and how."""

    bsc_version: str
    model: ModelRecord
    calibration: CalibrationRecord | None
    budget: BudgetRecord | None = Field(description="null unless accuracy was tested on held-out data")
    pipeline: str = Field(description="the passes that made the plan, every option spelled out")


class PlanDocument(Provenance, MappingRecord):
    """Everything of a plan but its arrays."""

    schema_version: Literal[4]
    target: str = Field(description="name of the hardware description in target.json")
    files: dict[FileName, Sha256] = Field(default={}, description="SHA-256 of every other file of the folder")

    def layer_file(self, name: str) -> str:
        """The file of a layer's arrays, by the layer's name."""
        return layer_file([layer.name for layer in self.layers].index(name))


def plan_schema() -> dict[str, Any]:
    """JSON Schema of plan.json, and beside it what the arrays of layers are."""
    return PlanDocument.model_json_schema() | described()


def layer_file(position: int) -> str:
    """The file of the arrays of the layer at a position, from 0."""
    return f"layers/{position:04}.safetensors"


@dataclass(frozen=True, eq=False, kw_only=True)
class Plan:
    """A mapping, the hardware it is for, and where both come from.

    Attributes:
        mapping: what is on the crossbars, and the program around them.
        target: the hardware it was compiled for.
        provenance: who made it, from what and how.
        files: SHA-256 of every other file of the folder it was read from, by name; empty for one that was not written.
    """

    mapping: MappedModel
    target: Target
    provenance: Provenance
    files: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def document(self) -> PlanDocument:
        """What plan.json says."""
        return PlanDocument(
            schema_version=SCHEMA_VERSION,
            target=self.target.name,
            files=dict(self.files),
            **dict(self.mapping.record),
            **dict(self.provenance),
        )
