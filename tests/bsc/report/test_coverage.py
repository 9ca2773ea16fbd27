from bsc.errors import ModelError
from bsc.frontend.coverage import Coverage, NodeCoverage
from bsc.report.coverage import CoverageReport, coverage_json
from bsc.report.text import to_text

FOUND = Coverage(
    model="net.onnx",
    nodes=(
        NodeCoverage(name="conv[0]", operator="Conv", place="crossbar", macs=1_500_000),
        NodeCoverage(name="relu", operator="Relu", place="digital"),
        NodeCoverage(name="qk", operator="MatMul", place="digital", reason="why", macs=400_000, of_activations=True),
        NodeCoverage(name="lstm", operator="LSTM", place="digital", macs=100_000),
        NodeCoverage(name="odd", operator="acme.Magic", place="unsupported", reason="no", fix="do", macs=None),
    ),
    refusals=(ModelError("BSC304", "problem", seen="seen", fix="do"),),
)


def test_text() -> None:
    assert to_text(CoverageReport(found=FOUND)) == (
        "Operators\n"
        "\n"
        " name      operator     computed        MACs   reason   fix\n"
        " ──────────────────────────────────────────────────────────\n"
        " conv[0]   Conv         crossbar      1.50 M\n"
        " relu      Relu         digital            .\n"
        " qk        MatMul       digital        400 k   why\n"
        " lstm      LSTM         digital        100 k\n"
        " odd       acme.Magic   unsupported      n/a   no       do\n"
        "\n"
        "By type\n"
        "\n"
        " operator     crossbar   digital   unsupported\n"
        " ─────────────────────────────────────────────\n"
        " Conv                1         .             .\n"
        " LSTM                .         1             .\n"
        " MatMul              .         1             .\n"
        " Relu                .         1             .\n"
        " acme.Magic          .         .             1\n"
        "\n"
        "model         net.onnx\n"
        "on crossbars  n/a of 2.00 M multiply-accumulates (MACs) of one inference\n"
        "digital       400 k in products of two activations, 100 k in other operators\n"
        "not counted   odd\n"
        "compiles      no: BSC304\n"
    )


def test_text_of_a_model_that_cannot_be_read() -> None:
    found = Coverage(model="net.onnx", nodes=(), refusals=FOUND.refusals)
    assert to_text(CoverageReport(found=found)) == "model         net.onnx\ncompiles      no: BSC304\n"


def test_json() -> None:
    figures = coverage_json(FOUND)
    assert figures["nodes"][4] == {
        "name": "odd",
        "operator": "acme.Magic",
        "place": "unsupported",
        "reason": "no",
        "fix": "do",
        "macs": None,
        "of_activations": False,
    }
    del figures["nodes"]
    assert figures == {
        "model": "net.onnx",
        "compiles": False,
        "refusals": [{"code": "BSC304", "problem": "problem", "seen": "seen", "fix": "do"}],
        "operators": {
            "Conv": {"crossbar": 1, "digital": 0, "unsupported": 0},
            "LSTM": {"crossbar": 0, "digital": 1, "unsupported": 0},
            "MatMul": {"crossbar": 0, "digital": 1, "unsupported": 0},
            "Relu": {"crossbar": 0, "digital": 1, "unsupported": 0},
            "acme.Magic": {"crossbar": 0, "digital": 0, "unsupported": 1},
        },
        "macs": {
            "crossbar": 1_500_000,
            "activations": 400_000,
            "digital": 100_000,
            "crossbar_share": None,
            "not_counted": ["odd"],
        },
    }
