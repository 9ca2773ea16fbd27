"""Report files that are read again; anybody may have written them."""

from pathlib import Path

from pydantic import ValidationError

from bsc.errors import ModelError, UsageError
from bsc.file_kinds import refuse_mistaken
from bsc.report.document import ReportDocument
from bsc.toml_record import first_mistake

MAX_REPORT_BYTES = 64 << 20
"""A thousand layers take some 10 MB."""


def read_report(path: Path) -> ReportDocument:
    """Read a report.json.

    Raises:
        UsageError: BSC202 if it cannot be opened.
        ModelError: BSC313 if it is not a report, or larger than any.
    """
    if path.exists() and not path.is_file():
        raise _unopened(path, "no regular file")
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_REPORT_BYTES + 1)
    except OSError as error:
        raise _unopened(path, error.strerror or str(error)) from None
    if content[:1] != b"{":
        refuse_mistaken(path, "report")
    if len(content) > MAX_REPORT_BYTES:
        raise _malformed(path, f"more than {MAX_REPORT_BYTES} bytes")
    try:
        return ReportDocument.model_validate_json(content)
    except ValidationError as error:
        refuse_mistaken(path, "report")
        raise _malformed(path, first_mistake(error)) from None


def _unopened(path: Path, seen: str) -> UsageError:
    return UsageError(
        "BSC202",
        f"'{path}' cannot be opened",
        seen=seen,
        fix="give a plan folder that 'bsc compile' wrote, or its report.json",
    )


def _malformed(path: Path, seen: str) -> ModelError:
    return ModelError(
        "BSC313",
        f"'{path}' is not a report of this version of bsc",
        seen=seen,
        fix="write it again with 'bsc report PLAN --json'",
    )
