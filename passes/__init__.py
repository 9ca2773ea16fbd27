"""The passes, one file each: Graph -> Graph."""

from bsc.ir.passbase import Pass
from passes.assign_adc import AssignAdc
from passes.budget_adc import BudgetAdc
from passes.calibrate_adc import CalibrateAdc
from passes.cap_columns import CapColumns
from passes.eliminate import Eliminate
from passes.fold_batchnorm import FoldBatchNorm
from passes.permute import Permute
from passes.place import Place
from passes.quantize import Quantize
from passes.reload import Reload
from passes.slice_bits import SliceBits
from passes.tile import Tile

PASSES: dict[str, type[Pass]] = {
    cls.name: cls
    for cls in (
        *(FoldBatchNorm, Quantize, SliceBits, Eliminate, Permute, CapColumns, Tile),
        *(AssignAdc, CalibrateAdc, BudgetAdc),
        *(Place, Reload),
    )
}
