"""Adam that clips as it goes, against torch's own clipping and its own Adam."""

import copy
import pickle

import pytest
import torch

from sklearn_hypsae.autoencoder.adam import ClippedAdam

STEP_SIZES = {"lr": 1e-2}


def parameters():
    generator = torch.Generator().manual_seed(0)
    shapes = (6, 4), (6,), (4,), (6, 0)
    return [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]


def train(trained, step, n_steps, *, seed=1, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(n_steps):
        for parameter in trained[:-1]:
            parameter.grad = scale * torch.randn(parameter.shape, generator=generator)
        step()


@pytest.mark.parametrize("max_norm", [None, 1e-3, 1.0, 1e6])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_steps_are_those_of_adam_after_clipping(max_norm, scale):
    ours, reference = parameters(), parameters()
    clipped = ClippedAdam(ours, max_norm=max_norm, **STEP_SIZES)
    adam = torch.optim.Adam(reference, **STEP_SIZES)

    def clip_and_step():
        if max_norm is not None:
            torch.nn.utils.clip_grad_norm_(reference, max_norm)
        adam.step()

    train(ours, clipped.step, 20, scale=scale)
    train(reference, clip_and_step, 20, scale=scale)

    for parameter, expected in zip(ours, reference, strict=True):
        torch.testing.assert_close(parameter, expected, rtol=1e-5, atol=1e-6)


def test_groups_have_step_sizes_of_their_own_and_share_one_norm():
    ours, reference = parameters(), parameters()

    def groups(of):
        return [{"params": of[:1], "lr": 0.1}, {"params": of[1:]}]

    clipped = ClippedAdam(groups(ours), max_norm=0.5, **STEP_SIZES)
    adam = torch.optim.Adam(groups(reference), **STEP_SIZES)

    def clip_and_step():
        torch.nn.utils.clip_grad_norm_(reference, 0.5)
        adam.step()

    train(ours, clipped.step, 5)
    train(reference, clip_and_step, 5)

    for parameter, expected in zip(ours, reference, strict=True):
        torch.testing.assert_close(parameter, expected, rtol=1e-5, atol=1e-6)


def test_moments_that_were_copied_out_go_on_as_if_nothing_had_happened():
    ours = parameters()
    first = ClippedAdam(ours, max_norm=1.0, **STEP_SIZES)
    train(ours, first.step, 5)
    others = copy.deepcopy(ours)
    second = ClippedAdam(others, max_norm=1.0, **STEP_SIZES)

    second.restore(first.moments())
    train(ours, first.step, 5, seed=2)
    train(others, second.step, 5, seed=2)

    for parameter, expected in zip(others, ours, strict=True):
        assert torch.equal(parameter, expected)


def test_a_pickled_optimiser_clips_as_before():
    ours = parameters()
    first = ClippedAdam(ours, max_norm=0.1, **STEP_SIZES)
    train(ours, first.step, 2)
    second = pickle.loads(pickle.dumps(first))
    others = [p for group in second.param_groups for p in group["params"]]

    train(ours, first.step, 3, seed=2)
    train(others, second.step, 3, seed=2)

    for parameter, expected in zip(others, ours, strict=True):
        assert torch.equal(parameter, expected)


def test_moments_of_another_shape_begin_anew():
    ours, wider = parameters(), parameters()
    wider[0] = torch.nn.Parameter(torch.zeros(8, 4))
    first = ClippedAdam(ours, **STEP_SIZES)
    train(ours, first.step, 2)
    second = ClippedAdam(wider, **STEP_SIZES)

    second.restore(first.moments())

    assert wider[0] not in second.state
    assert torch.equal(second.state[wider[1]]["exp_avg"], first.state[ours[1]]["exp_avg"])
