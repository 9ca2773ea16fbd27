"""bsc, the bit-slice compiler: a trained ONNX model in, a ReRAM crossbar deployment plan out.

    plan = bsc.compile("model.onnx", xbar=(128, 128), calib=x)
    plan.save("model.bsc")

The names below are imported when they are first used, so that `import bsc` takes no time.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from bsc.api.cost import Cost as Cost
    from bsc.api.crossbar import Crossbar as Crossbar
    from bsc.api.exploring import Explored as Explored
    from bsc.api.exploring import explore as explore
    from bsc.api.plan import Plan as Plan
    from bsc.api.plan import compile as compile
    from bsc.api.plan import open as open
    from bsc.api.table import Table as Table
    from bsc.api.training import Finetuned as Finetuned
    from bsc.api.training import finetune as finetune
    from bsc.api.verified import Verified as Verified
    from bsc.errors import BscError as BscError
else:
    _PLACES = {
        "BscError": "bsc.errors",
        "Cost": "bsc.api.cost",
        "Crossbar": "bsc.api.crossbar",
        "Explored": "bsc.api.exploring",
        "Finetuned": "bsc.api.training",
        "Plan": "bsc.api.plan",
        "Table": "bsc.api.table",
        "Verified": "bsc.api.verified",
        "compile": "bsc.api.plan",
        "explore": "bsc.api.exploring",
        "finetune": "bsc.api.training",
        "open": "bsc.api.plan",
    }

    def __getattr__(name):
        """A name of `__all__`, which is looked up once. Type checkers read the imports above instead."""
        if name not in _PLACES:
            raise AttributeError(f"module 'bsc' has no attribute '{name}'")
        found = globals()[name] = getattr(import_module(_PLACES[name]), name)
        return found

    def __dir__():
        return sorted({*globals(), *_PLACES})


__all__ = [
    "BscError",
    "Cost",
    "Crossbar",
    "Explored",
    "Finetuned",
    "Plan",
    "Table",
    "Verified",
    "__version__",
    "compile",
    "explore",
    "finetune",
    "open",
]
