"""The compiled kernels of the replay; everything else is in pyproject.toml. bsc works without it, only slower."""

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "bsc.replay._kernel",
            sources=["bsc/replay/_kernel.c"],
            depends=["bsc/replay/_kernel_lanes.h"],
            # Vector arguments stay within functions that are inlined, so that their ABI does not matter.
            extra_compile_args=["-O3", "-fno-math-errno", "-fno-trapping-math", "-Wno-psabi"],
            optional=True,
        ),
        Extension(
            "bsc.replay._analog",
            sources=["bsc/replay/_analog.c"],
            depends=["bsc/replay/_analog_sums.h"],
            # Every product is rounded before it is added, as NumPy does it.
            extra_compile_args=["-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"],
            optional=True,
        ),
    ]
)
