"""The order of batches."""

import numpy as np
import pytest
import torch
from accelerate.data_loader import prepare_data_loader, skip_first_batches
from transformers import TrainerState

from wave_hf.training.sampling import SeededLengthGroupedSampler, SetEpochCallback


class TestSeededLengthGroupedSampler:
    lengths = np.random.default_rng(0).integers(1, 100, size=400).tolist()

    def order(self, seed: int, epoch: int) -> list[int]:
        sampler = SeededLengthGroupedSampler(4, self.lengths, seed)
        torch.manual_seed(len(self.lengths) * seed + epoch)  # must not matter
        sampler.set_epoch(epoch)
        return list(sampler)

    def test_order_is_a_function_of_seed_and_epoch(self):
        assert sorted(self.order(0, 0)) == list(range(400))
        torch.rand(1)
        assert self.order(7, 3) == self.order(7, 3)
        assert len({tuple(self.order(seed, epoch)) for seed in (0, 7) for epoch in (0, 1, 2)}) == 6

    def test_a_second_pass_of_the_same_epoch_has_the_same_order(self):
        sampler = SeededLengthGroupedSampler(4, self.lengths, 0)
        assert list(sampler) == list(sampler)

    def test_batches_hold_like_lengths(self):
        lengths = np.array(self.lengths)[self.order(0, 0)].reshape(-1, 4)
        shuffled = np.array(self.lengths).reshape(-1, 4)
        assert np.ptp(lengths, axis=1).mean() < 0.2 * np.ptp(shuffled, axis=1).mean()

    @pytest.mark.parametrize("processes", [1, 2])
    def test_resumed_epoch_has_its_order_on_every_process(self, processes):
        def batches(skipped: int) -> list[list[int]]:
            sampler = SeededLengthGroupedSampler(4, self.lengths, seed=0)
            loader = torch.utils.data.DataLoader(range(400), batch_size=4, sampler=sampler)
            loader = prepare_data_loader(loader, num_processes=processes, process_index=processes - 1)
            SetEpochCallback().on_epoch_begin(None, TrainerState(epoch=1.5), None, train_dataloader=loader)
            if skipped:
                loader = skip_first_batches(loader, skipped)
                loader.set_epoch(1)
            return [batch.tolist() for batch in loader]

        assert batches(skipped=3) == batches(skipped=0)[3:]
