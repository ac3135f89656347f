"""Sequence parallelism: several processes share the tokens of texts that are too long for one device.

The tokens of a text meet only in its G^2, in the neighbours that kernels read, and in pooling. So each process
computes a part of the tokens, plus the few around it that the kernels of all layers reach, and each layer sums up 2H
floats a text over all processes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import distributed, nn

from .modeling_wave import WaveForQuestionAnswering, WavePreTrainedModel, WaveTokenHead
from .remote_code import is_instance
from .streaming import part_of_text
from .waves import check_mask, energy


@contextmanager
def sequence_parallel(model: WavePreTrainedModel, group: distributed.ProcessGroup | None = None) -> Iterator[None]:
    """Share the tokens of every text among the processes of a group, in the forward and the backward pass.

    Every process of the group must pass the same whole batch: its ids are small, and each process embeds and computes
    only its own part of the tokens. All of them return the same logits and loss, but of `last_hidden_state` and
    `hidden_states` only the part that they computed. Gradients must be averaged over the group to be those of one
    process; `DistributedDataParallel` over all processes does this, and other groups may then have other texts.

    Each process draws its own dropout.

    Args:
        model: A model without a head, or with one that reads whole texts. If the model is wrapped, pass the unwrapped
            one.
        group: The processes that share each text; `None` means all. Give `init_process_group` a `timeout`: if a
            process dies or hangs, the others raise an error after that time at the latest.

    Yields:
        Nothing. With gradient checkpointing, the backward pass must end inside the context.

    Raises:
        ValueError: The head labels tokens; or, in `forward`, the processes were given different texts.
    """
    if is_instance(model, WaveTokenHead, WaveForQuestionAnswering):
        name = type(model).__name__
        raise ValueError(f"model is a {name}, but should read whole texts: no process has all tokens to label.")
    shares = _Shares(group)
    wave: Any = model.base_model
    hooks = [
        wave.register_forward_pre_hook(shares.take_part, with_kwargs=True),
        *(layer.register_forward_pre_hook(shares.share_sums, with_kwargs=True) for layer in wave.layers),
        wave.pooler.register_forward_hook(shares.pool),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


class _AllReduce(torch.autograd.Function):
    """The sum over the processes of a group; its gradient is summed over them likewise."""

    @staticmethod
    def forward(ctx, x: torch.Tensor, group: distributed.ProcessGroup | None) -> torch.Tensor:
        ctx.group = group
        total = x.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(ctx, grad_output: torch.Tensor) -> tuple[torch.Tensor, None]:
        return _AllReduce.apply(grad_output, ctx.group), None


class _Shares:
    """The hooks that make a network compute its part of the tokens."""

    def __init__(self, group: distributed.ProcessGroup | None):
        self.group = group
        self.rank = distributed.get_rank(group)
        self.size = distributed.get_world_size(group)
        self.own = slice(0)

    def take_part(self, wave: Any, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
        """Cut the inputs of the network to the tokens that this process reads."""
        names = ("input_ids", "attention_mask", "token_type_ids", "inputs_embeds", "position_ids")
        inputs: dict[str, Any] = dict.fromkeys(names) | kwargs | dict(zip(names, args, strict=False))
        tokens = inputs["inputs_embeds"] if inputs["input_ids"] is None else inputs["input_ids"]
        if tokens is None:  # the network raises
            return args, kwargs
        check_mask(inputs["attention_mask"], tokens.shape[:2])
        self.check_same(tokens, inputs["attention_mask"])
        if inputs["position_ids"] is None:
            inputs["position_ids"] = wave.position_ids(tokens, inputs["attention_mask"])
        length = tokens.shape[1]
        start, end = length * self.rank // self.size, length * (self.rank + 1) // self.size
        read, self.own = part_of_text(start, end, length, wave.halo)
        cut = {name: None if inputs[name] is None else inputs[name][:, read] for name in names}
        return (), inputs | cut

    def check_same(self, tokens: torch.Tensor, mask: torch.Tensor | None) -> None:
        """Raise ValueError if the processes were given different texts, whose sums would be meaningless."""
        sums = [0 if x is None else position_weighted_sum(x) for x in (tokens, mask)]
        summary = torch.tensor([*tokens.shape[:2], *sums], dtype=torch.int64, device=tokens.device)
        extremes = torch.stack((summary, -summary))
        distributed.all_reduce(extremes, op=distributed.ReduceOp.MAX, group=self.group)
        highest, lowest = extremes[0], -extremes[1]
        if not torch.equal(highest, lowest):
            raise ValueError(
                "The processes that share texts were given different ones, but should all have the same whole batch: "
                f"texts and tokens range from {tuple(lowest[:2].tolist())} to {tuple(highest[:2].tolist())}."
            )

    def share_sums(self, layer: Any, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
        """Pass the sums over whole texts to a layer: its G^2 and, if it needs it, the number of tokens."""
        num_tokens = None
        if layer.mixer.scale_waves:
            own = self.own_tokens(*args).sum(dim=1).float()
            num_tokens = _AllReduce.apply(own, self.group).clamp(min=1).view(-1, 1, 1)
        return args, kwargs | {"global_energy": partial(self.global_energy, self.own), "num_tokens": num_tokens}

    def global_energy(self, own: slice, variants: torch.Tensor) -> torch.Tensor:
        return _AllReduce.apply(energy(variants[:, own]).sum(dim=1, keepdim=True), self.group)

    def own_tokens(self, hidden_states: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Return which tokens are real and this process's own, `(B, T)` bool."""
        own = hidden_states.new_zeros(hidden_states.shape[:2], dtype=torch.bool)
        own[:, self.own] = True if mask is None else mask[:, self.own] != 0
        return own

    def pool(self, pooler: Any, args: tuple[torch.Tensor, torch.Tensor | None], _: torch.Tensor) -> torch.Tensor:
        """Pool the tokens of all processes."""
        own = self.own_tokens(*args)
        pooled = pooler.pool_parts(args[0], own)
        # At least float32, which counts up to 16 million tokens exactly.
        part = torch.cat((pooled, own.sum(dim=1, keepdim=True).float()), dim=1)
        # Each process fills its own row of the parts, and zeros elsewhere.
        row = nn.functional.one_hot(torch.tensor(self.rank, device=part.device), self.size).to(part.dtype)
        parts = _AllReduce.apply(part.unsqueeze(1) * row.unsqueeze(-1), self.group)
        return pooler.pool_parts(parts[..., :-1], parts[..., -1]).to(pooled.dtype)


def position_weighted_sum(x: torch.Tensor) -> int:
    """Return an integer that nearly always differs for different tensors."""
    values = x.detach().flatten()
    if x.is_floating_point():
        values = (values.double() * 2**20).long()
    return int((values.long() * torch.arange(1, len(values) + 1, device=x.device)).sum())
