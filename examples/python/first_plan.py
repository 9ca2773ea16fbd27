# %% [markdown]
# # A first plan
#
# `bsc` maps a trained ONNX model onto ReRAM crossbars and proves the ADC resolution of every slice column. This
# notebook compiles the MNIST example, looks at it, verifies it, prices it and tries other designs. It is written by
# `write_notebook.py` from `first_plan.py`, and run by the tests.

# %%
from pathlib import Path

import numpy as np

import bsc

mnist = Path("examples/mnist") if Path("examples/mnist").is_dir() else Path("../mnist")
test = np.load(mnist / "test_images.npz")
images, labels = test["image"], test["label"]

plan = bsc.compile(mnist / "model.onnx", xbar=(128, 128), adc="lossless", calib=images)
plan

# %% [markdown]
# At a prompt a plan is a line, and `print(plan)` is the report of `bsc compile`.

# %%
print(repr(plan))

# %% [markdown]
# ## What is on the crossbars
#
# One crossbar holds one slice and one sign of a tile of a layer; `levels` are its cells, (rows, columns).

# %%
crossbar = plan.crossbar("fc1", 0, 0, 3, "+")
print(crossbar.levels.shape, crossbar.levels.dtype, f"{np.mean(crossbar.levels > 0):.1%} of the cells are above 0")
print("ADC bits:", np.bincount(crossbar.adc_bits.ravel(), minlength=9), "columns with 0 to 8")
crossbar

# %% [markdown]
# Layers are a table: rows are dictionaries, columns are arrays, and `plan.layers.to_pandas()` is a frame where pandas
# is installed. Units are SI, and in the names.

# %%
for row in plan.layers:
    print(row["layer"], row["crossbars"], "crossbars,", f"{row['mean_adc_bits']:.2f} ADC bits on average")
share = plan.layers["adc_energy_j"].sum() / plan.layers["energy_j"].sum()
print(f"{share:.1%} of the energy goes into ADCs")

# %% [markdown]
# ## Is it right?
#
# The replay of the crossbars must equal the quantised integer model bit for bit; the float model in onnxruntime is
# beside it. A lossless plan that is not exact would raise an error.

# %%
verified = plan.verify(images, labels, model=mnist / "model.onnx")
print(verified)

# %% [markdown]
# `run` gives the outputs themselves.

# %%
outputs = plan.run(images[:100])
print({name: values.shape for name, values in outputs.items()})
print(f"{np.mean(outputs['logits'].argmax(axis=1) == labels[:100]):.0%} of 100 right")

# %% [markdown]
# ## What does it cost?
#
# Beside the plan stand two baselines. How energy follows resolution differs between published ADC models by orders of
# magnitude, so try them all.

# %%
for law in ("isaac", "saberi", "linear", "puma", "neurosim", "exponential"):
    print(repr(plan.cost(law=law)))

# %% [markdown]
# ## What would be better?
#
# A space of designs as a dictionary; every mapping is compiled once, and replayed where there are data.

# %%
space = {
    "objectives": ["energy", "accuracy"],
    "axes": {"weight-bits": [5, 8], "cell-bits": [2, 4], "adc": ["lossless", "calibrated", "fixed=5"]},
}
data = {"image": images[:500], "labels": labels[:500]}
explored = bsc.explore(mnist / "model.onnx", space, data=data, calib=images[500:1000])
explored

# %%
best = explored.front[0]
print(
    f"{best['energy_j'] * 1e9:.1f} nJ at {best['accuracy']:.1%}: {best['weight-bits']}-bit weights, ADC {best['adc']}"
)
better = bsc.compile(mnist / "model.onnx", passes=best["pipeline"], calib=images[500:1000])
print(repr(better.verify(images[1000:], labels[1000:])))

# %% [markdown]
# ## Keep it
#
# `plan.save("model.bsc")` writes the folder that `bsc compile` writes, to the byte; `bsc.open("model.bsc")` reads it.
# What goes wrong is a `bsc.BscError`, which says what was seen and what to do.

# %%
try:
    bsc.compile(mnist / "model.onnx", adc="best")
except bsc.BscError as error:
    print(error)
