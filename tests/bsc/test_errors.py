import re
from pathlib import Path

import pytest

import bsc
from bsc.errors import CODES, BscError, DoesNotFitError, GateError, ModelError, UsageError
from bsc.ir.passbase import refuse_after, required

KINDS = {UsageError: 2, ModelError: 3, DoesNotFitError: 4, GateError: 5}
SOURCE_FOLDERS = ("bsc", "passes", "hw_models")
ROOT = Path(bsc.__file__).parents[1]


def test_words() -> None:
    error = ModelError("BSC303", "layer 'fc': broken", seen="nan", fix="mend it")
    assert str(error) == "[BSC303] layer 'fc': broken\n  seen: nan\n  fix:  mend it"
    assert (error.code, error.problem, error.seen, error.fix) == ("BSC303", "layer 'fc': broken", "nan", "mend it")


@pytest.mark.parametrize("code", CODES)
def test_the_exit_code_is_the_first_digit(code: str) -> None:
    assert re.fullmatch(r"BSC[2-5]\d\d", code)
    assert BscError(code, "", seen="", fix="").exit_code == int(code[3])


def test_an_unlisted_code_is_our_own_mistake() -> None:
    with pytest.raises(AssertionError, match="BSC999"):
        BscError("BSC999", "", seen="", fix="")


def test_each_code_is_raised_by_the_class_of_its_digit() -> None:
    raised = [
        match
        for folder in SOURCE_FOLDERS
        for path in sorted((ROOT / folder).glob("*.py"))
        for match in re.findall(r'(\w+Error)\(\s*"(BSC\d{3})"', path.read_text(encoding="utf-8"))
    ]
    assert raised
    exit_codes = {kind.__name__: exit_code for kind, exit_code in KINDS.items()}
    assert [(kind, code) for kind, code in raised if exit_codes.get(kind) != int(code[3])] == []


def test_required_gives_back_what_is_there() -> None:
    assert required(0, "fc", "tile", "quantize") == 0


def test_words_for_passes_in_the_wrong_order() -> None:
    with pytest.raises(ModelError) as missing:
        required(None, "fc", "tile", "quantize")
    assert str(missing.value) == (
        "[BSC309] layer 'fc': pass 'tile' needs what 'quantize' computes\n"
        "  seen: no result of 'quantize' in the graph\n"
        "  fix:  put 'quantize' before 'tile' in --passes"
    )
    refuse_after(None, "fc", "eliminate", "tile")
    with pytest.raises(ModelError) as late:
        refuse_after(0, "fc", "eliminate", "tile")
    assert str(late.value) == (
        "[BSC309] layer 'fc': pass 'eliminate' comes too late\n"
        "  seen: the result of 'tile' in the graph\n"
        "  fix:  put 'eliminate' before 'tile' in --passes"
    )
