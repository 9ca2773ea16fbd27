"""SUPPORTED.md, from the tables that the compiler itself uses.

python -m bsc.report.supported > SUPPORTED.md
"""

import inspect

from bsc.errors import CODES
from bsc.frontend import simplify
from bsc.frontend.coverage import ADVICE
from bsc.frontend.crossbar_view import WEIGHT_TYPES, crossbar_operators
from bsc.frontend.onnx_import import DOMAINS, OPSETS


def supported() -> str:
    """The whole page, as Markdown."""
    crossbar = ""
    for name, doc in crossbar_operators().items():
        mapped, _, digital = " ".join(doc.split()).partition(" Digital: ")
        crossbar += _row(name, mapped, digital)
    advice = "".join(_row(why.replace("*", "..."), fix or "nothing to do") for why, fix in ADVICE.items())
    refused = "".join(_row(code, text) for code, text in CODES.items() if "BSC301" <= code <= "BSC306")
    domains = ", ".join(f"`{name}`" if name else "the standard one" for name in DOMAINS)
    return f"""# What bsc supports

Written by `python -m bsc.report.supported` from the compiler's own tables; a test keeps it fresh.
`bsc check MODEL.onnx` says the same of every operator of a model.

## Models

ONNX opsets {OPSETS.start} to {OPSETS.stop - 1}, operators of these domains: {domains}. Functions of the model's
own may have any domain. Weights of type {", ".join(kind.name for kind in WEIGHT_TYPES)}, in the file itself or in
files below its folder. A free first axis of an input is the batch; other open sizes are given with `--input-shape`.

{inspect.getdoc(simplify)}

## On crossbars

| operator | on crossbars | digital |
| --- | --- | --- |
{crossbar}
A `BatchNormalization` behind one of them is folded into its weights.

## Digital

Every other operator of these domains stays digital: it goes into the plan as it is and runs in onnxruntime during a
replay. `If`, `Loop` and `Scan` are digital with all that is in their bodies. `bsc check` names one of these reasons
where an operator of the table above stays digital:

| reason | what to do |
| --- | --- |
{advice}
## Refused

| code | reason |
| --- | --- |
{refused}
A model is refused as well if a lossless conversion would need more bits than an ADC has (BSC401) or if the constants of
digital operators do not fit into an ONNX file (BSC402).
"""


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n"


if __name__ == "__main__":
    print(supported(), end="")
