"""Tests of a network that is sharded over two processes (FSDP2)."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from builders import ALL_PARTS, random_ids, tiny_model
from packaging.version import Version
from torch import distributed
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from wave_hf import WaveForSequenceClassification

INPUT_IDS = random_ids(8, 6)
LABELS = torch.arange(8) % 3
STEPS = 3
LEARNING_RATE = 0.1


def make_model() -> WaveForSequenceClassification:
    return tiny_model(**ALL_PARTS)


def train(model: WaveForSequenceClassification, rows: slice) -> list[dict[str, torch.Tensor]]:
    """Train with SGD and return the gradients of each step."""
    optimizer = torch.optim.SGD(model.parameters(), LEARNING_RATE)
    gradients = []
    for _ in range(STEPS):
        model(input_ids=INPUT_IDS[rows], labels=LABELS[rows]).loss.backward()
        gradients.append({name: whole(parameter.grad) for name, parameter in model.named_parameters()})
        optimizer.step()
        optimizer.zero_grad()
    return gradients


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """Gather a sharded tensor, and copy any other."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor.clone()


def train_sharded(folder: Path) -> None:
    """Train on this process and another one, each with half of the batch, and save the results."""
    distributed.init_process_group("gloo")
    rank, mesh = distributed.get_rank(), init_device_mesh("cpu", (2,))
    model = make_model()
    for layer in model.wave.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    gradients = train(model, slice(4 * rank, 4 * rank + 4))
    shares = {name: parameter.to_local().numel() / parameter.numel() for name, parameter in model.named_parameters()}
    state = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True))
    if rank == 0:
        torch.save({"gradients": gradients, "shares": shares, "state": state}, folder / "sharded.pt")
        make_model().save_pretrained(folder, state_dict=state)  # this empties the state
    distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.skipif(Version("2.10") > Version(torch.__version__), reason="torch 2.7 adds gradients up over gloo")
def test_sharded_network_trains_as_a_whole_one(tmp_path):
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    subprocess.run([sys.executable, *launcher, __file__, str(tmp_path)], check=True, timeout=120)
    sharded = torch.load(tmp_path / "sharded.pt")
    model = make_model()
    gradients = train(model, slice(8))

    assert min(gradient.abs().max() for gradient in gradients[0].values()) > 1e-4
    torch.testing.assert_close(sharded["gradients"], gradients, atol=1e-6, rtol=0)
    torch.testing.assert_close(sharded["state"], dict(model.state_dict()), atol=1e-6, rtol=0)
    # The first dimension is cut in two; of an odd one, the first process has the larger part.
    assert all(0.5 <= share < 0.7 for share in sharded["shares"].values())

    loaded = WaveForSequenceClassification.from_pretrained(tmp_path)
    with torch.no_grad():
        expected = model(input_ids=INPUT_IDS).logits
        torch.testing.assert_close(loaded(input_ids=INPUT_IDS).logits, expected, atol=1e-5, rtol=0)


if __name__ == "__main__":
    train_sharded(Path(sys.argv[1]))
