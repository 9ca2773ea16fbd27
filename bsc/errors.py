"""Errors a user can cause, each with a code to look up, what was seen and what to do.

The first digit of a code is the exit code of the command line:

    2  usage: a flag, a path, an output folder
    3  a model, plan or data file that is malformed or not supported
    4  the model does not fit the hardware
    5  a verification or accuracy gate failed

A broken promise of our own is an `assert` or a plain exception and exits with 1.
"""

from typing import Final

from bsc.printable import visible

CODES: Final[dict[str, str]] = {
    "BSC201": "a command-line value cannot be read",
    "BSC202": "an input file or folder cannot be opened",
    "BSC203": "the output exists already",
    "BSC204": "the output cannot be written",
    "BSC205": "a pipeline text cannot be read",
    "BSC206": "a hardware description is malformed or inconsistent",
    "BSC207": "an ADC law is unknown, malformed or asked outside its table",
    "BSC208": "an optional part of bsc is not installed",
    "BSC209": "a design space is malformed",
    "BSC210": "the workers of a sweep cannot be used or were lost",
    "BSC211": "workers were lost over a design of a sweep again and again",
    "BSC212": "a plan's crossbars are of another size than the hardware's",
    "BSC301": "the file is not a readable ONNX model",
    "BSC302": "external weight data is missing or not allowed",
    "BSC303": "a weight is not a finite number",
    "BSC304": "an operator, opset or domain is not supported",
    "BSC305": "a tensor shape is unknown or inconsistent",
    "BSC306": "the model has nothing to map onto crossbars",
    "BSC307": "the plan folder is malformed or was altered",
    "BSC308": "the data file does not match the model",
    "BSC309": "passes are in the wrong order",
    "BSC310": "an operator cannot be fine-tuned",
    "BSC311": "a checkpoint is malformed or of another run",
    "BSC312": "a file asks for more memory or work than its size allows",
    "BSC313": "a report file is malformed",
    "BSC314": "the results of a sweep are malformed or of another sweep",
    "BSC315": "the imported model does not compute what its file does",
    "BSC316": "measurements of a device cannot be used",
    "BSC317": "a fault map is malformed or of another plan",
    "BSC401": "a value needs more bits than the hardware offers",
    "BSC402": "what is to be written is larger than its file format allows",
    "BSC403": "ADC resolutions differ where the hardware has one for all",
    "BSC404": "the model needs more crossbars than the chips at hand have",
    "BSC501": "the replay of a lossless plan differs from the integer model",
    "BSC502": "a hardware description does not re-add to its published totals",
    "BSC503": "fine-tuning diverged",
    "BSC504": "a recorded bound is not proved by the cells",
    "BSC505": "no ADC assignment keeps to the accuracy budget",
}


class BscError(Exception):
    """A mistake the user can mend.

    Attributes:
        code: key of `CODES`; its first digit is the exit code.
        problem: where and what, one line.
        seen: what was found there.
        fix: what to do about it.
    """

    def __init__(self, code: str, problem: str, *, seen: str, fix: str) -> None:
        assert code in CODES, code
        super().__init__(problem)
        self.code = code
        self.problem = problem
        self.seen = seen
        self.fix = fix

    @property
    def exit_code(self) -> int:
        """Exit status of a command that ends with this error, 2 to 5."""
        return int(self.code[3])

    def __str__(self) -> str:
        problem, seen, fix = map(visible, (self.problem, self.seen, self.fix))
        return f"[{self.code}] {problem}\n  seen: {seen}\n  fix:  {fix}"


class UsageError(BscError):
    """BSC2xx: a flag, path, pipeline or hardware file the user gave."""


class ModelError(BscError):
    """BSC3xx: a model, plan or data file."""


class DoesNotFitError(BscError):
    """BSC4xx: the hardware is too small for the model."""


class GateError(BscError):
    """BSC5xx: a check the user asked for did not pass."""
