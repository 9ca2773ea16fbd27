"""The compiled inner loops, where bsc was installed with a C compiler; everything works without them, only slower."""

from types import ModuleType

kernel: ModuleType | None
try:
    from bsc.replay import _kernel
except ImportError:
    kernel = None
else:
    kernel = _kernel
