"""The sparse kernels against a plain dense reference: values and gradients, all variants."""

import numpy as np
import pytest
import torch

from sklearn_hypsae.autoencoder import kernels, patterns
from sklearn_hypsae.autoencoder.losses import batch_loss, learn
from sklearn_hypsae.autoencoder.module import SparseAutoencoder
from sklearn_hypsae.autoencoder.records import Settings, Weights

B, D, M, K = 24, 12, 40, 5

VARIANTS = {
    "topk": {},
    "matryoshka": {"prefix_lengths": (8, 20, M)},
    "batch_topk": {"batch_topk": True},
    "matryoshka_batch_topk": {"prefix_lengths": (10, M), "batch_topk": True},
    "multi_k": {"multi_k": 4 * K, "multi_coef": 0.5},
    "aux_k": {"aux_k": 6, "aux_coef": 0.25},
    "aux_k_of_many": {"aux_k": 3, "aux_coef": 0.25},
    "target": {"target_coef": 0.7},
    "signed": {"signed": True},
    "all": {
        "prefix_lengths": (8, M),
        "batch_topk": True,
        "signed": True,
        "multi_k": 10,
        "multi_coef": 0.2,
        "aux_k": 6,
        "aux_coef": 0.25,
        "target_coef": 0.3,
    },
}
DEAD = torch.tensor([3, 11, 12, 30])


def dense_loss(module, x, y, dead):
    """What the loss means, with every product dense and every gradient torch's own."""
    settings = module.settings
    pre = (x - module.input_bias) @ module.encoder_weight.T + module.encoder_bias
    scores = pre.abs() if settings.signed else pre

    def masked(mask):
        return torch.where(mask, pre if settings.signed else pre.relu(), 0.0)

    def topk_mask(scores, k):
        return torch.zeros_like(scores, dtype=torch.bool).scatter(
            1, scores.topk(k, dim=1).indices, True
        )

    if settings.batch_topk:
        mask = (scores >= scores.flatten().topk(settings.k * len(x)).values[-1]) & (scores > 0)
    else:
        mask = topk_mask(scores, settings.k)
    z = masked(mask)
    prefixes = settings.prefix_lengths or (z.shape[1],)
    errors = [
        (x - z[:, :n] @ module.decoder_weight[:n] - module.input_bias).square().sum() / len(x)
        for n in prefixes
    ]
    loss = torch.stack(errors).mean()
    residual = (x - z @ module.decoder_weight - module.input_bias).detach()
    if settings.multi_coef:
        wider = masked(topk_mask(scores, settings.multi_k)) @ module.decoder_weight
        loss = loss + settings.multi_coef * (
            (wider + module.input_bias - x).square().sum() / len(x)
        )
    if settings.aux_coef:
        n_used = min(settings.aux_k, len(dead))
        only_dead = torch.full_like(scores, -torch.inf)
        only_dead[:, dead] = scores[:, dead]
        explained = masked(topk_mask(only_dead, n_used)) @ module.decoder_weight
        error = (residual - explained).square().sum() / residual.square().sum()
        loss = loss + settings.aux_coef * n_used / settings.aux_k * error
    if settings.target_coef:
        prediction = z @ module.readout_weight + module.readout_bias
        loss = loss + settings.target_coef * (prediction - y).square().mean()
    return loss


def random_module(settings, seed=0):
    rng = np.random.default_rng(seed)
    weights = Weights(
        rng.normal(size=(M, D)),
        rng.normal(size=M) / 10,
        rng.normal(size=(M, D)),
        rng.normal(size=D) / 10,
        rng.normal(size=(M, 2)),
        rng.normal(size=2),
    )
    return SparseAutoencoder(weights, settings).double()


def traced(module, x, y, dead):
    loss = batch_loss(module, x, y, dead).loss
    loss.backward()
    return loss


def learnt(module, x, y, dead):
    return learn(module, x, y, dead).loss


@pytest.mark.parametrize("computed", [traced, learnt])
@pytest.mark.parametrize("variant", VARIANTS)
def test_loss_and_gradients_equal_the_dense_reference(variant, computed):
    settings = Settings(**{"k": K, **VARIANTS[variant]})
    dead = DEAD if settings.aux_coef else DEAD[:0]
    rng = np.random.default_rng(1)
    x, y = torch.from_numpy(rng.normal(size=(B, D))), torch.from_numpy(rng.normal(size=(B, 2)))
    ours, reference = random_module(settings), random_module(settings)

    loss = computed(ours, x, y, dead)
    expected = dense_loss(reference, x, y, dead)
    expected.backward()

    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)
    for (name, parameter), other in zip(
        ours.named_parameters(), reference.parameters(), strict=True
    ):
        if other.grad is None:
            assert parameter.grad is None, name
            continue
        expected_grad = other.grad
        if name == "decoder_weight":
            # The rows keep their length, so only the tangent part is asked for.
            along = (other.grad * other).sum(dim=1, keepdim=True).detach()
            expected_grad = other.grad - along * other.detach()
        torch.testing.assert_close(parameter.grad, expected_grad, rtol=1e-10, atol=1e-12, msg=name)


@pytest.mark.parametrize("n_neurons, k", [(64, 4), (256, 8), (261, 8), (1024, 32), (40, 40)])
def test_topk_keeps_exactly_the_largest_of_each_row(n_neurons, k):
    scores = torch.from_numpy(np.random.default_rng(0).normal(size=(200, n_neurons)))
    # Large scores crowd in one group in some rows, and tie in others.
    scores[:50, :: max(1, n_neurons // 8)] += 10
    scores[50:100] = scores[50:100].round()
    pattern = patterns.topk_pattern(scores, k)
    chosen = scores[pattern.bags, pattern.neurons].view(200, k)
    torch.testing.assert_close(chosen.sort(dim=1).values, scores.topk(k, dim=1).values.flip(1))
    assert all(len(row.unique()) == k for row in pattern.neurons.view(200, k))


@pytest.mark.parametrize(
    "scores",
    [
        np.zeros((30, 64)),
        np.full((30, 64), -np.inf),
        np.repeat(np.arange(64.0)[None] // 3, 30, axis=0),
        np.where(np.arange(30)[:, None] == 3, np.nan, np.arange(64.0)),
    ],
    ids=["equal", "infinite", "tied at the border", "a row of NaN"],
)
@pytest.mark.parametrize("k", [1, 2, 63, 64])
def test_topk_keeps_k_neurons_a_row_whatever_the_scores(scores, k):
    pattern = patterns.topk_pattern(torch.from_numpy(scores), k)
    neurons = pattern.neurons.view(30, k)
    assert (neurons.diff(dim=1) > 0).all() and neurons.min() >= 0 and neurons.max() < 64
    chosen = np.take_along_axis(scores, neurons.numpy(), axis=1)
    expected = np.partition(scores, -k, axis=1)[:, -k:]
    np.testing.assert_array_equal(np.sort(chosen, axis=1), np.sort(expected, axis=1))


def test_topk_of_no_rows_is_empty():
    assert len(patterns.topk_pattern(torch.zeros(0, 256), 8).neurons) == 0


def test_topk_leaves_the_scores_alone():
    for n_neurons in (20, 256):
        scores = torch.randn(10, n_neurons)
        before = scores.clone()
        patterns.topk_pattern(scores, 8)
        assert torch.equal(scores, before)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("precision", ["tf32", "bfloat16"])
def test_a_lower_precision_selects_and_computes_nothing_else(precision, variant):
    rng = np.random.default_rng(1)
    settings = Settings(**{"k": K, **VARIANTS[variant], "encoder_precision": precision})
    dead = DEAD if settings.aux_coef else DEAD[:0]
    x, y = (torch.from_numpy(rng.normal(size=(B, n)).astype(np.float32)) for n in (D, 2))
    rough = random_module(settings).float()
    exact = random_module(Settings(**{"k": K, **VARIANTS[variant]})).float()

    # The same neurons, hardly any excepted.
    chosen = [
        set(zip(pattern.bags.tolist(), pattern.neurons.tolist(), strict=True))
        for pattern in (module.pattern(module(x)[1]) for module in (rough, exact))
    ]
    assert len(chosen[0] & chosen[1]) > 0.97 * len(chosen[1])

    # Given its choice, values and gradients are those of float32.
    chosen_by_rough = rough(x)[1]
    exact.forward = lambda x: (x - exact.input_bias.detach(), chosen_by_rough)
    exact._selects_roughly = lambda: True
    losses = [batch_loss(module, x, y, dead).loss for module in (rough, exact)]
    for loss in losses:
        loss.backward()
    torch.testing.assert_close(*losses, rtol=1e-6, atol=0)
    for ours, theirs in zip(rough.parameters(), exact.parameters(), strict=True):
        if theirs.grad is not None:
            torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-5, atol=1e-6)

    # Nothing but training is rough.
    rough.eval(), exact.eval()
    del exact.forward, exact._selects_roughly
    assert torch.equal(rough(x)[1], exact(x)[1])


def test_values_computed_for_a_pattern_alone_are_those_of_the_dense_product():
    module = random_module(Settings(k=K))
    x = torch.from_numpy(np.random.default_rng(1).normal(size=(B, D)))
    centred, dense = module(x)
    pattern = module.pattern(dense)
    parameters = module.encoder_weight, module.encoder_bias, module.input_bias
    gradients = []
    for known in (dense, None):
        values = kernels.encode(*parameters, centred, known, pattern)
        torch.testing.assert_close(values, dense[pattern.bags, pattern.neurons], rtol=1e-12, atol=0)
        gradients.append(torch.autograd.grad(values.square().sum(), parameters))
    for first, second in zip(*gradients, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("shape, k", [((64, 50), 4), ((600, 300), 8), ((512, 512), 1)])
def test_batch_topk_keeps_exactly_the_largest_of_the_batch(shape, k):
    scores = torch.from_numpy(np.random.default_rng(0).normal(size=shape))
    pattern = patterns.batch_topk_pattern(scores, k)
    chosen = scores[pattern.bags, pattern.neurons]
    expected = scores.flatten().topk(k * shape[0]).values.sort().values
    torch.testing.assert_close(chosen.sort().values, expected)
    assert (pattern.bags.diff() >= 0).all()


def test_batch_topk_survives_scores_that_mislead_its_sample():
    # All large scores lie where the strided sample does not look.
    scores = torch.rand(600, 300, dtype=torch.float64)
    flat = scores.flatten()
    stride = (flat.numel() // 20_000) | 1
    flat[::stride] += 10
    pattern = patterns.batch_topk_pattern(scores, 60)
    expected = flat.topk(60 * 600).values.sort().values
    torch.testing.assert_close(scores[pattern.bags, pattern.neurons].sort().values, expected)


def test_batch_topk_never_keeps_what_would_not_fire():
    scores = torch.full((4, 6), -1.0)
    scores[1, 2] = 0.5
    pattern = patterns.batch_topk_pattern(scores, 3)
    assert pattern.bags.tolist() == [1]
    assert pattern.neurons.tolist() == [2]


def test_levels_split_each_row_by_the_shortest_prefix_that_holds_the_neuron():
    pattern = patterns.topk_pattern(torch.tensor([[9.0, 0, 8, 0, 7, 0], [0.0, 0, 0, 9, 8, 7]]), 3)
    levels = pattern.in_levels(torch.tensor([2, 4, 6]))
    assert levels.bags.tolist() == [0, 1, 2, 4, 5, 5]
    assert levels.offsets.tolist() == [0, 1, 2, 3, 3, 4, 6]
