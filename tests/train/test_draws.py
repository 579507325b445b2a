"""Whoever computes a part of a batch draws what the whole batch would have drawn."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from robolearn.train.draws import Draws

CPU = torch.device("cpu")


def draw(rows: int) -> dict[str, torch.Tensor]:
    like = torch.zeros(rows, 3)
    return {
        "randn": torch.randn((rows, 2, 5)),
        "sizes": torch.rand(rows, 4),
        "like": torch.randn_like(like),
        "rand_like": torch.rand_like(like),
        "randint": torch.randint(0, 1000, (rows,)),
        "named": torch.randint(low=5, high=1000, size=(rows, 2)),
        "one_bound": torch.randint(1000, (rows,)),
        "in_place": torch.empty(rows, 7).normal_(1.0, 0.5),
        "uniform": torch.empty(rows).uniform_(-1, 1),
        "stacked": torch.randn(rows * 2, 3),
        "double": torch.randn(rows, dtype=torch.float64),
    }


@given(rows=st.integers(2, 40), data=st.data())
def test_the_parts_together_draw_what_the_whole_draws(rows, data):
    cuts = sorted(data.draw(st.sets(st.integers(1, rows - 1), max_size=4)))
    bounds = list(zip([0, *cuts], [*cuts, rows], strict=True))
    torch.manual_seed(7)
    whole, after = draw(rows), torch.get_rng_state()

    torch.manual_seed(7)
    draws, parts = Draws(CPU), []
    with draws.step():
        for k, (start, stop) in enumerate(bounds):
            with draws.part(slice(start, stop), of=rows, key=(0, k)):
                parts.append(draw(stop - start))
    for name, expected in whole.items():
        assert torch.equal(torch.cat([part[name] for part in parts]), expected), name
    assert torch.equal(torch.get_rng_state(), after)


def test_the_state_afterwards_does_not_depend_on_the_part():
    states = []
    for rows in (slice(0, 4), slice(4, 10)):
        torch.manual_seed(1)
        draws = Draws(CPU)
        with draws.step(), draws.part(rows, of=10, key=(rows.start,)):
            torch.randn(rows.stop - rows.start, 3)
            torch.nn.functional.dropout(torch.ones(6, 5))
        states.append(torch.get_rng_state())
    assert torch.equal(*states)


def test_masks_of_dropout_differ_between_parts_and_not_between_runs():
    def masks() -> list[torch.Tensor]:
        torch.manual_seed(1)
        draws = Draws(CPU)
        result = []
        with draws.step():
            for k in range(2):
                with draws.part(slice(8 * k, 8 * k + 8), of=16, key=(5, k)):
                    result.append(torch.nn.functional.dropout(torch.ones(8, 16)))
        return result

    first, second = masks(), masks()
    assert not torch.equal(first[0], first[1])
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_unshared_parts_draw_for_themselves_and_leave_the_state_alone():
    torch.manual_seed(1)
    before, draws, parts = torch.get_rng_state(), Draws(CPU), []
    with draws.step():
        for k in range(2):
            with draws.part(slice(k, k + 1), of=2, key=(k,), shared=False):
                parts.append(torch.randn(1, 9))
    assert not torch.equal(*parts)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_generator_that_is_named_is_used():
    generator = torch.Generator().manual_seed(3)
    expected = torch.randn(4, generator=torch.Generator().manual_seed(3))
    draws = Draws(CPU)
    with draws.step(), draws.part(slice(0, 4), of=8, key=(0,)):
        assert torch.equal(torch.randn(4, generator=generator), expected)
