"""The loop with two networks and two optimisers: what it leaves, what it survives, and that it goes on exactly."""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from opsin.errors import ImageError, InputError, MissingExtraError, OpsinError
from opsin.images import read_image
from opsin.networks import load_network
from opsin.training import Progress, Recipe, RunFolder, Settings, train
from opsin.training.averaging import Average
from opsin.training.metrics import read_metrics
from opsin.training.recipe import rate_factor

pytest.importorskip("accelerate", reason="extra 'train'")
pytest.importorskip("tensorboard", reason="extra 'train'")

Make = Callable[..., Settings]
MakeRecipe = Callable[..., Recipe]


def rows(folder: RunFolder) -> list[dict[str, Any]]:
    """The metrics without the time it took."""
    return [{k: v for k, v in row.items() if k != "seconds"} for row in read_metrics(folder.metrics)]


def weights(folder: RunFolder, step: int = 6) -> dict[str, torch.Tensor]:
    return load_file(folder.checkpoint(step))


def assert_same(a: RunFolder, b: RunFolder) -> None:
    mine, theirs = weights(a), weights(b)
    assert mine.keys() == theirs.keys()
    for name, tensor in mine.items():
        torch.testing.assert_close(tensor, theirs[name], rtol=0, atol=0)
    assert rows(a) == rows(b)
    assert a.model.read_bytes() == b.model.read_bytes()


@pytest.fixture
def whole(settings: Make, recipe: MakeRecipe, tmp_path: Path) -> RunFolder:
    """A run without a break."""
    return train(recipe(), settings(output=tmp_path / "whole"))


def test_what_a_run_leaves(whole: RunFolder) -> None:
    assert whole.steps() == [2, 4, 6]
    assert sorted(path.name for path in whole.samples.iterdir()) == ["step-00000003.png", "step-00000006.png"]
    assert read_image(whole.samples / "step-00000006.png").shape == (1, 3, 16, 32)
    assert [row["step"] for row in rows(whole)] == [1, 2, 3, 4, 5, 6]
    assert set(rows(whole)[0]) == {"step", "loss", "judge", "lr"}
    assert [path.name.partition(".")[0] for path in whole.tensorboard.iterdir()] == ["events"]
    network, about = load_network(whole.model)
    assert (about["kind"], about["step"], about["arguments"]["width"]) == ("inverting", 6, 2)
    assert network(torch.rand(1, 3, 20, 20)).shape == (1, 3, 20, 20)
    assert not list(whole.path.rglob(".*"))


def test_it_learns(settings: Make, recipe: MakeRecipe) -> None:
    seen: list[Progress] = []
    folder = train(recipe(), settings(steps=40, lr=0.02, checkpoint_every=40, sample_every=0), callback=seen.append)
    losses = [row["loss"] for row in rows(folder)]
    assert sum(losses[-10:]) < 0.7 * sum(losses[:10])
    assert [p.step for p in seen] == list(range(1, 41))
    assert seen[-1].remaining == 0
    assert 0 < seen[0].remaining < 600
    assert list(folder.samples.iterdir()) == []


@pytest.mark.parametrize("options", [{}, {"workers": 2}, {"ema": 0.0, "keep": 1}])
def test_it_goes_on_exactly(
    settings: Make, recipe: MakeRecipe, tmp_path: Path, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(recipe(), settings(output=tmp_path / "whole", **options))
    calls = 0

    def die(progress: Progress) -> None:
        nonlocal calls
        calls += 1
        if progress.step == 5:
            raise MemoryError

    with pytest.raises(MemoryError):
        train(recipe(), settings(**options), callback=die)
    broken = RunFolder(settings().output)
    assert [row["step"] for row in rows(broken)] == [1, 2, 3, 4, 5]
    with broken.metrics.open("a") as file:
        file.write('{"step": 6, "lo')  # cut short
    folder = train(recipe(), settings(**options), resume=True)
    assert calls == 5
    assert_same(folder, whole)
    assert len(folder.steps()) == options.get("keep", 3)


def test_another_seed_is_another_run(settings: Make, recipe: MakeRecipe, whole: RunFolder) -> None:
    assert rows(train(recipe(), settings(seed=1))) != rows(whole)


def test_a_run_without_a_checkpoint_begins_anew(settings: Make, recipe: MakeRecipe, whole: RunFolder) -> None:
    def die(_: Progress) -> None:
        raise MemoryError

    with pytest.raises(MemoryError):
        train(recipe(), settings(), callback=die)
    assert_same(train(recipe(), settings(), resume=True), whole)


def test_parts_add_up_to_a_step(settings: Make, recipe: MakeRecipe, tmp_path: Path) -> None:
    """Without the noise, which each part draws anew."""

    def run(name: str, **options: Any) -> list[dict[str, Any]]:
        made = recipe()
        plain = torch.zeros_like
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch, "randn_like", plain)
            return rows(train(made, settings(output=tmp_path / name, batch=4, **options)))

    once, twice = run("once"), run("twice", accumulate=2)
    for a, b in zip(once, twice, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-4)
    assert run("other", accumulate=2, lr=0.1)[-1]["loss"] != pytest.approx(once[-1]["loss"], rel=1e-4)


def test_bfloat16(settings: Make, recipe: MakeRecipe, whole: RunFolder) -> None:
    folder = train(recipe(), settings(precision="bfloat16"))
    assert rows(folder) != rows(whole)
    assert rows(folder)[-1]["loss"] == pytest.approx(rows(whole)[-1]["loss"], rel=0.1)
    assert all(t.dtype != torch.bfloat16 for t in weights(folder).values())


def test_an_infinite_loss(settings: Make, recipe: MakeRecipe, whole: RunFolder) -> None:
    match = (
        r"the inverter's loss must be a finite number, got inf at step 6; the last checkpoint is that of step 4\. Lower"
    )
    with pytest.raises(OpsinError, match=match):
        train(recipe(poison=6), settings())
    folder = RunFolder(settings().output)
    assert folder.steps() == [2, 4]
    assert_same(train(recipe(), settings(), resume=True), whole)


def test_weights_that_are_no_numbers_are_not_kept(settings: Make, recipe: MakeRecipe) -> None:
    made = recipe()

    def spoil(progress: Progress) -> None:
        if progress.step == 3:
            with torch.no_grad():
                next(made.networks["judge"].parameters()).fill_(float("nan"))
            made.step = lambda images, update: {"loss": images[0].mean()}  # type: ignore[method-assign] (one that sees nothing)

    with pytest.raises(OpsinError, match=r"weights of the judge must be finite numbers, .* at step 4; .* of step 2"):
        train(made, settings(), callback=spoil)
    assert RunFolder(settings().output).steps() == [2]


def test_ctrl_c(settings: Make, recipe: MakeRecipe, whole: RunFolder) -> None:
    def press(progress: Progress) -> None:
        if progress.step == 2:
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(recipe(), settings(checkpoint_every=100), callback=press)
    assert signal.getsignal(signal.SIGINT) is before
    folder = RunFolder(settings().output)
    assert folder.steps() == [3]
    assert load_network(folder.model).about["step"] == 3
    assert_same(train(recipe(), settings(), resume=True), whole)


@pytest.mark.parametrize("moment", ["open", "rename"])
def test_a_full_disk(
    settings: Make, recipe: MakeRecipe, whole: RunFolder, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """In the middle of the second checkpoint."""
    from opsin import states

    plain, replace = states.save_file, Path.replace

    def write(tensors: Any, path: Any, *rest: Any) -> None:
        plain(tensors, path, *rest)
        if "step-00000004" in str(path):
            os.truncate(path, 100)
            raise OSError(errno.ENOSPC, "No space left on device")

    def move(path: Path, target: Any) -> Path:
        if "step-00000004" in str(target):
            raise OSError(errno.ENOSPC, "No space left on device")
        return replace(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(states, "save_file", write) if moment == "open" else patch.setattr(Path, "replace", move)
        with pytest.raises(OpsinError, match="No space left on device"):
            train(recipe(), settings())
    folder = RunFolder(settings().output)
    assert folder.steps() == [2]
    assert not list(folder.path.rglob(".*"))
    assert load_network(folder.model).about["step"] == 2
    assert_same(train(recipe(), settings(), resume=True), whole)


def test_the_last_few_checkpoints_are_kept(settings: Make, recipe: MakeRecipe) -> None:
    folder = train(recipe(), settings(checkpoint_every=1, keep=2))
    assert folder.steps() == [5, 6]


def test_leftovers_of_a_kill_are_removed(settings: Make, recipe: MakeRecipe) -> None:
    folder = RunFolder(settings().output)
    with pytest.raises(OpsinError, match="must be a finite number"):
        train(recipe(poison=5), settings())
    (folder.checkpoints / ".step-00000006-x.safetensors").write_bytes(b"half of")
    train(recipe(), settings(), resume=True)
    assert not list(folder.path.rglob(".*"))


def test_a_folder_that_is_there(settings: Make, recipe: MakeRecipe, whole: RunFolder) -> None:
    before = whole.model.read_bytes()
    with pytest.raises(OpsinError, match=r"must be new or empty, got '.*whole', which is not\. .*--resume"):
        train(recipe(), settings(output=whole.path))
    with pytest.raises(InputError, match="steps must be more than the 6 that are done, got 6"):
        train(recipe(), settings(output=whole.path), resume=True)
    assert whole.model.read_bytes() == before
    with pytest.raises(OpsinError, match=r"the run to resume must have a config\.yaml, got '.*run', which has none"):
        train(recipe(), settings(), resume=True)
    with pytest.raises(OpsinError, match="must be in one that exists"):
        train(recipe(), settings(output=whole.path.parent / "a" / "b"))


def test_longer_than_planned(settings: Make, recipe: MakeRecipe, tmp_path: Path, whole: RunFolder) -> None:
    folder = train(recipe(), settings(output=tmp_path / "longer", steps=4))
    assert_same(train(recipe(), settings(output=tmp_path / "longer"), resume=True), whole)
    assert "steps: 6" in folder.config.read_text()


def test_other_data(settings: Make, recipe: MakeRecipe, photos: Path) -> None:
    with pytest.raises(OpsinError, match="must be a finite number"):
        train(recipe(poison=5), settings())
    (photos / "a.png").rename(photos / "z.png")
    with pytest.raises(InputError, match="data must hold the images that the run began with"):
        train(recipe(), settings(), resume=True)


def test_unreadable_images(settings: Make, recipe: MakeRecipe, photos: Path) -> None:
    (photos / "f.png").write_bytes(b"\x89PNG")
    with pytest.warns(UserWarning, match=r"skipped an image: image must be a PNG, .*f\.png"):
        folder = train(recipe(), settings())
    assert folder.steps()[-1] == 6
    with pytest.raises(ImageError, match=r"data must have at most 0 images that cannot be read, got 1"):
        train(recipe(), settings(output=photos.parent / "strict", max_unreadable=0))


def test_a_batch_that_cannot_be_parted_and_a_device_that_is_not_there(settings: Make, recipe: MakeRecipe) -> None:
    with pytest.raises(InputError, match=r"batch must be a multiple of 1 processes × 4 parts, got 2\. E\.g\. 4\."):
        train(recipe(), settings(accumulate=4))
    with pytest.raises(InputError, match="device must be one of this machine, got 'cuda:77'"):
        train(recipe(), settings(device="cuda:77"))
    assert not settings().output.exists()


@pytest.mark.parametrize("package", ["accelerate", "tensorboard"])
def test_a_missing_extra(settings: Make, recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setitem(sys.modules, "accelerate" if package == "accelerate" else "torch.utils.tensorboard", None)
    with pytest.raises(MissingExtraError, match=rf"must have {package} installed.*pip install 'opsin\[train\]'"):
        train(recipe(), settings())
    assert not settings().output.exists()


def test_checkpoints_hold_no_pickle(whole: RunFolder) -> None:
    with whole.checkpoint(6).open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    assert json.loads(header["__metadata__"]["opsin"])["kind"] == "a run of training"


def test_the_average() -> None:
    network = torch.nn.Sequential(torch.nn.Linear(1, 1, bias=False), torch.nn.BatchNorm1d(1))
    weight: Any = network[0].weight
    average = Average(network, 0.5)
    start = weight.item()
    with torch.no_grad():
        weight.add_(1)
    network[1].running_mean.add_(3)  # type: ignore[union-attr,operator] (it has one)
    average.update(network, 0)
    mine: Any = average.network
    assert float(mine[0].weight) == pytest.approx(start + 0.9)
    assert float(mine[1].running_mean) == 3
    average.update(network, 1000)
    assert float(mine[0].weight) == pytest.approx(start + 0.95)
    assert not mine[0].weight.requires_grad


def test_schedules(settings: Make) -> None:
    constant = settings(warmup=3)
    assert [rate_factor(constant, step, constant.steps) for step in range(5)] == [0.25, 0.5, 0.75, 1, 1]
    cosine = settings(schedule="cosine", steps=4)
    assert [rate_factor(cosine, step, 4) for step in range(4)] == pytest.approx([1, 0.853553, 0.5, 0.146447], abs=1e-6)


def test_the_schedule_is_followed(settings: Make, recipe: MakeRecipe) -> None:
    folder = train(recipe(), settings(schedule="cosine", lr=0.01))
    assert [row["lr"] for row in rows(folder)] == pytest.approx(
        [0.01 * rate_factor(settings(schedule="cosine"), step, 6) for step in range(6)]
    )
