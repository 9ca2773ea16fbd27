"""The compiled kernel of the replay; everything else is in pyproject.toml. bsc works without it, only slower."""

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
        )
    ]
)
