"""What `Plan.verify` found out."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from bsc.api.shown import Shown

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bsc.plan.document import Plan
    from bsc.replay.proofs import LayerProof
    from bsc.replay.verification import Accuracy, Verification


class Verified(Shown):
    """A replay beside the quantised integer model and, if given, the float model.

    Args:
        plan: the plan.
        found: the findings.
        proofs: what was checked of every layer's proofs, or None.

    Attributes:
        found: all findings: counts by layer, differences of every output.
        proofs: by layer, or None where they were not asked for.
    """

    def __init__(self, plan: "Plan", found: "Verification", proofs: "Mapping[str, LayerProof] | None" = None) -> None:
        self.found = found
        self.proofs = proofs
        self._plan = plan

    @property
    def exact(self) -> bool:
        """Whether every layer result equals the quantised integer model's, bit for bit."""
        return self.found.exact

    @property
    def samples(self) -> int:
        """How many were replayed."""
        return self.found.samples

    @property
    def accuracy(self) -> "Accuracy | None":
        """Shares of samples 0 to 1: `replayed`, `quantised` and, with a model, `float_model`; None without labels."""
        return self.found.accuracy

    def to_json(self) -> str:
        """The findings as `bsc verify --json` prints them."""
        from bsc.plan.folder import to_json
        from bsc.report.verification import verification_json

        return to_json(verification_json(self.found, self.proofs))

    def __rich__(self) -> "RenderableType":
        from bsc.report.verification import VerificationReport

        return VerificationReport(plan=self._plan, found=self.found, proofs=self.proofs)

    def _line(self) -> str:
        words = [f"{'exact' if self.exact else 'NOT exact'} on {self.samples} samples"]
        if self.accuracy is not None:
            words.append(f"accuracy {self.accuracy.replayed:.2%}, quantised {self.accuracy.quantised:.2%}")
            if self.accuracy.float_model is not None:
                words[-1] += f", float {self.accuracy.float_model:.2%}"
        return ", ".join(words)
