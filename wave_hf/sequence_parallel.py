"""Sequence parallelism: several processes share the tokens of texts that are too long for one device.

The tokens of a text meet only in its G^2, in the neighbours that local kernels read, and in pooling. So each process
computes a part of the tokens, with the few around it that the kernels of all layers reach, and each layer adds up 2H
floats a text over all processes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import distributed, nn

from .modeling_wave import (
    WaveForQuestionAnswering,
    WavePreTrainedModel,
    WaveTokenHead,
    energy,
    part_of_text,
    pool,
    pool_parts,
)


@contextmanager
def sequence_parallel(model: WavePreTrainedModel, group: distributed.ProcessGroup | None = None) -> Iterator[None]:
    """Share the tokens of every text among the processes of a group, forward and backward.

    All processes of the group are given the same whole batch: its ids are small, and each process embeds and computes
    its own part of the tokens alone. All of them return the same logits and loss, but of `last_hidden_state` and
    `hidden_states` only what they computed. Gradients are those of one process once they are averaged over the
    group, as `DistributedDataParallel` over all processes does, whose other groups may have other texts.

    Dropout is drawn by each process for itself.

    Args:
        model: A model without a head, or with one that reads whole texts. If it is wrapped, the model in the wrapper.
        group: The processes that share each text; `None` means all. Give `init_process_group` a `timeout`: if a
            process dies or stays away, the others raise an error after that time at the latest.

    Yields:
        Nothing; backward must end before the context does if layers are checkpointed.

    Raises:
        ValueError: The head labels tokens; or, in `forward`, the processes were given different texts.
    """
    if isinstance(model, WaveTokenHead | WaveForQuestionAnswering):
        name = type(model).__name__
        raise ValueError(f"model is a {name}, but should read whole texts: no process has all tokens to label.")
    shares = _Shares(group)
    wave: Any = model.base_model
    hooks = [
        wave.register_forward_pre_hook(shares.take_part, with_kwargs=True),
        *(layer.register_forward_pre_hook(shares.share_energy, with_kwargs=True) for layer in wave.layers),
        wave.pooler.register_forward_hook(shares.pool),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


class _AllReduce(torch.autograd.Function):
    """The sum over the processes of a group, of which each wants the gradient."""

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
        """Cut the inputs of the network to what this process reads."""
        names = ("input_ids", "attention_mask", "token_type_ids", "inputs_embeds", "position_ids")
        inputs: dict[str, Any] = dict.fromkeys(names) | kwargs | dict(zip(names, args, strict=False))
        tokens = inputs["inputs_embeds"] if inputs["input_ids"] is None else inputs["input_ids"]
        if tokens is None:  # the network says what is missing
            return args, kwargs
        self.check_same(tokens, inputs["attention_mask"])
        if inputs["position_ids"] is None:
            inputs["position_ids"] = wave.position_ids(tokens, inputs["attention_mask"])
        length = tokens.shape[1]
        start, end = length * self.rank // self.size, length * (self.rank + 1) // self.size
        read, self.own = part_of_text(start, end, length, wave.halo)
        cut = {name: None if inputs[name] is None else inputs[name][:, read] for name in names}
        return (), inputs | cut

    def check_same(self, tokens: torch.Tensor, mask: torch.Tensor | None) -> None:
        """Raise ValueError if the processes were not given the same texts: their sums would mean nothing."""
        sums = [0 if x is None else place_weighted_sum(x) for x in (tokens, mask)]
        told = torch.tensor([*tokens.shape[:2], *sums], dtype=torch.int64, device=tokens.device)
        extremes = torch.stack((told, -told))
        distributed.all_reduce(extremes, op=distributed.ReduceOp.MAX, group=self.group)
        highest, lowest = extremes[0], -extremes[1]
        if not torch.equal(highest, lowest):
            raise ValueError(
                "The processes that share texts were given different ones, but should all have the same whole batch: "
                f"texts and tokens range from {tuple(lowest[:2].tolist())} to {tuple(highest[:2].tolist())}."
            )

    def share_energy(self, layer: Any, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
        """Give a layer the way to the G^2 and the number of tokens of whole texts."""
        hidden_states, mask = args
        num_tokens = None
        if layer.mixer.scale_waves:
            own = self.own_tokens(hidden_states, mask).float()
            num_tokens = _AllReduce.apply(own.sum(dim=1), self.group).clamp(min=1).view(-1, 1, 1)
        return args, kwargs | {"global_energy": partial(self.global_energy, self.own), "num_tokens": num_tokens}

    def global_energy(self, own: slice, variants: torch.Tensor) -> torch.Tensor:
        return _AllReduce.apply(energy(variants[:, own]).sum(dim=1, keepdim=True), self.group)

    def own_tokens(self, hidden_states: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Return the mask `(B, T)` of the real tokens that are this process's own."""
        own = hidden_states.new_zeros(hidden_states.shape[:2])
        own[:, self.own] = 1 if mask is None else (mask[:, self.own] != 0).to(own.dtype)
        return own

    def pool(self, pooler: Any, args: tuple[torch.Tensor, torch.Tensor | None], _: torch.Tensor) -> torch.Tensor:
        """Pool the tokens of all processes."""
        hidden_states, mask = args
        own = self.own_tokens(hidden_states, mask)
        pooled = pool(hidden_states, own, pooler.pooling)
        # In float32 at least, which counts to 16 millions; each process fills its own place.
        told = torch.cat((pooled, own.float().sum(dim=1, keepdim=True)), dim=1)
        place = nn.functional.one_hot(torch.tensor(self.rank, device=told.device), self.size).to(told.dtype)
        parts = _AllReduce.apply(told.unsqueeze(1) * place.unsqueeze(-1), self.group)
        return pool_parts(parts[..., :-1], parts[..., -1], pooler.pooling).to(pooled.dtype)


def place_weighted_sum(x: torch.Tensor) -> int:
    """Tell tensors apart by one integer, nearly always."""
    values = x.detach().flatten()
    if x.is_floating_point():
        values = (values.double() * 2**20).long()
    return int((values.long() * torch.arange(1, len(values) + 1, device=x.device)).sum())
