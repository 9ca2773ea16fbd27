import json
import re

import pytest

from bsc.report.html.page import data_block, percent


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (None, "n/a"),
        (0, "0 %"),
        (0.0009, "< 0.1 %"),
        (0.001, "0.1 %"),
        (0.5, "50 %"),
        (0.999, "99.9 %"),
        (0.9991, "> 99.9 %"),
        (1, "100 %"),
    ],
)
def test_percent(share: float | None, text: str) -> None:
    assert percent(share) == text.replace(" %", "\N{NO-BREAK SPACE}%")


def test_no_text_ends_a_block_of_data() -> None:
    value = {"</script><script>alert(1)": ["<!--", "&amp;", "é", 1.5, None]}
    block = data_block("here", value)
    text = re.fullmatch(r'<script type="application/json" id="here">(.*)</script>', block)
    assert text is not None
    assert not set("<>&") & set(text[1])
    assert json.loads(text[1]) == value


def test_numbers_that_json_lacks_are_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        data_block("here", float("nan"))
