"""SUPPORTED.md, from the tables that the compiler itself uses.

python -m bsc.reference.supported > SUPPORTED.md
"""

import inspect

from bsc.errors import CODES
from bsc.frontend import folding, simplify
from bsc.frontend.coverage import ADVICE
from bsc.frontend.crossbar_view import WEIGHT_TYPES, crossbar_operators
from bsc.frontend.onnx_import import DOMAINS, OPSETS
from bsc.frontend.rewrite import RULES, Rule
from bsc.frontend.upgrade import CONVERTED, TARGET
from bsc.reference.markdown import table_row


def supported() -> str:
    """The whole page, as Markdown."""
    crossbar = ""
    for name, doc in crossbar_operators().items():
        mapped, _, digital = " ".join(doc.split()).partition(" Digital: ")
        crossbar += table_row(name, mapped, digital)
    rewritten = ""
    for rule, names in _by_rule().items():
        rewritten += table_row(", ".join(names), inspect.getdoc(rule) or "")
    advice = "".join(table_row(why.replace("*", "..."), fix or "nothing to do") for why, fix in ADVICE.items())
    refused = "".join(table_row(code, text) for code, text in CODES.items() if "BSC301" <= code <= "BSC306")
    domains = ", ".join(f"`{name}`" if name else "the standard one" for name in DOMAINS)
    return f"""# What bsc supports

Written by `python -m bsc.reference.supported` from the compiler's own tables; a test keeps it fresh.
`bsc check MODEL.onnx` says the same of every operator of a model.

## Models

ONNX opsets {OPSETS.start} to {OPSETS.stop - 1}, and {CONVERTED.start} to {CONVERTED.stop - 1}, which are converted to
opset {TARGET}; operators of these domains: {domains}. Functions of the model's
own may have any domain. Weights of type {", ".join(kind.name for kind in WEIGHT_TYPES)},
or quantised to integers, float8 or float4, dense or sparse, in the file itself or in files below its folder; where the
file is a link, as model hubs have it, the folder that it leads to counts as well. The batch is found on any axis
of any input; other open sizes are given with `--input-shape`, which an error asks for.

{inspect.getdoc(simplify)}

{inspect.getdoc(folding)}

## On crossbars

| operator | on crossbars | digital |
| --- | --- | --- |
{crossbar}
A `BatchNormalization` behind one of them is folded into its weights. These operators are rewritten into them, with the
codes of weights that are quantised already. Operators that read the same weights share crossbars.

| operator | what is rewritten |
| --- | --- |
{rewritten}
## Digital

Every other operator of these domains stays digital: it goes into the plan as it is and runs in onnxruntime during a
replay. An `If`, `Loop` or `Scan` that cannot be written out is digital with all that is in its bodies. `bsc check` says
why an operator of the tables above stays digital; some of the reasons:

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


def _by_rule() -> dict[Rule, list[str]]:
    """Operators by the rule that rewrites them."""
    found: dict[Rule, list[str]] = {}
    for domain, rules in RULES.items():
        for name, rule in rules.items():
            prefix = "" if domain in ("", "com.microsoft") else f"{domain}."
            if domain != "ai.onnx":
                found.setdefault(rule, []).append(prefix + name)
    return found


if __name__ == "__main__":
    print(supported(), end="")
