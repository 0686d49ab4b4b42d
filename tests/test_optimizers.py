"""Optimizers: each kind of weight has its own, unused rows stay, and the rate rises and falls."""

import pytest
import torch

from sentiformer.training.optimizers import MAX_NORM, Optimizers, clip_gradients, learning_rate


class Network(torch.nn.Module):
    """A table of embeddings, two matrices in layers, and a bias."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.table = torch.nn.Embedding(7, 4)
        self.encoder = torch.nn.Module()
        self.encoder.layers = torch.nn.ModuleList([torch.nn.Linear(4, 6), torch.nn.Linear(6, 4)])

    def forward(self, rows):
        first, second = self.encoder.layers
        return second(first(self.table(rows)).tanh())


def train(kind, steps=5, rows=((1, 4, 6), (0, 1, 6))):
    network = Network()
    optimizers = Optimizers(network, kind)
    optimizers.set_learning_rate(0.1)
    for step in range(steps):
        step_of(network, optimizers, rows[step % len(rows)])
    return network, optimizers


def step_of(network, optimizers, rows):
    optimizers.zero_grad()
    network(torch.tensor(rows)).square().sum().backward()
    optimizers.step()


@pytest.mark.parametrize("kind", ["adam", "lazy_adam", "muon"])
def test_every_weight_has_one_optimizer_and_is_updated(kind):
    network, _ = train(kind)
    for name, weight in Network().named_parameters():
        assert not torch.equal(weight, network.get_parameter(name)), name


def test_lazy_adam_leaves_unused_rows_and_adam_does_not():
    before = Network().table.weight
    rows = [(1, 4, 6), (0, 1, 6), (0, 1, 6), (0, 1, 6)]
    for kind, moves_on in (("lazy_adam", False), ("adam", True)):
        after_one, after_all = (train(kind, steps, rows)[0].table.weight for steps in (1, 4))
        assert torch.equal(after_all[[2, 3, 5]], before[[2, 3, 5]]), "rows that no batch uses"
        assert torch.equal(after_one[4], after_all[4]) is not moves_on, "a row that was used once"


def test_dense_gradients_of_a_table_give_what_sparse_ones_give():
    (one, optimizers), (other, _) = train("lazy_adam"), train("lazy_adam")
    step_of(one, optimizers, (2, 3, 3))
    assert one.table.weight.grad.is_sparse
    network, again = train("lazy_adam")
    again.zero_grad()
    network(torch.tensor((2, 3, 3))).square().sum().backward()
    network.table.weight.grad = network.table.weight.grad.to_dense()  # as the sum over processes
    again.step()
    torch.testing.assert_close(network.table.weight, one.table.weight)
    assert not torch.equal(other.table.weight, one.table.weight)


def test_muon_updates_the_matrices_of_layers_alone():
    network = Network()
    optimizers = Optimizers(network, "muon")
    names = {id(weight): name for name, weight in network.named_parameters()}
    muon = [
        names[id(weight)]
        for optimizer in optimizers._all
        if isinstance(optimizer, torch.optim.Muon)
        for group in optimizer.param_groups
        for weight in group["params"]
    ]
    assert muon == ["encoder.layers.0.weight", "encoder.layers.1.weight"]


@pytest.mark.parametrize("kind", ["adam", "lazy_adam", "muon"])
def test_a_restored_state_goes_on_with_the_same_bits(kind):
    (network, optimizers), (other, _) = train(kind), train(kind)
    restored = Optimizers(other, kind)
    restored.set_learning_rate(0.1)
    restored.load_state({name: t.clone() for name, t in optimizers.state().items()})
    for made_of in ((network, optimizers), (other, restored)):
        step_of(*made_of, (1, 2, 3))
    for one, two in zip(network.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)


def test_only_plain_adam_can_be_recorded_on_a_gpu():
    kinds = ("adam", "lazy_adam", "muon")
    assert [Optimizers(Network(), kind).can_be_recorded for kind in kinds] == [True, False, False]


@pytest.mark.parametrize("sparse", [True, False])
def test_a_long_gradient_is_clipped_and_a_short_one_is_not(sparse):
    network = Network()
    network.table.sparse = sparse
    for factor in (100.0, 1e-4):
        network.zero_grad()
        (factor * network(torch.tensor([1, 4, 4]))).sum().backward()
        norm = clip_gradients(network.parameters())
        grads = [weight.grad for weight in network.parameters()]
        values = [g.coalesce().values() if g.is_sparse else g for g in grads]
        after = torch.cat([value.flatten() for value in values]).norm()
        assert after.item() == pytest.approx(min(norm.item(), MAX_NORM), rel=1e-4)
    assert norm < MAX_NORM


def test_the_learning_rate_rises_and_falls():
    rates = [learning_rate(1.0, step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[:10] == sorted(rates[:10])
    assert rates[9] == rates[10] == 1.0
    assert rates[55] == pytest.approx(0.5)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert 0 < rates[99] < 0.02


def test_a_rate_on_a_device_is_set_in_place():
    optimizers = Optimizers(Network(), "adam")
    rate = optimizers._all[0].param_groups[0]["lr"] = torch.tensor(0.5)
    optimizers.set_learning_rate(0.25)
    assert rate.item() == 0.25


def test_rows_with_a_gradient_of_zero_keep_their_value():
    network, optimizers = train("lazy_adam")  # all used rows have moments
    before = network.table.weight.detach().clone()
    values = torch.tensor([[0.0] * 4, [1.0] * 4])
    rows = torch.tensor([[1, 6]])
    network.table.weight.grad = torch.sparse_coo_tensor(rows, values, before.shape)
    optimizers.step()
    changed = (network.table.weight != before).any(dim=1)
    assert changed.tolist() == [False] * 6 + [True]
