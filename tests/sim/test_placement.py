"""Where things start on the table."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robolearn.errors import UserError
from robolearn.sim.tasks.placement import scatter
from robolearn.sim.tasks.task import Area

AREA = Area((0.4, -0.1), (0.6, 0.2))


@given(seed=st.integers(0, 2**32), n=st.integers(1, 4), distance=st.floats(0.0, 0.08))
def test_scattered_points_keep_their_distance_and_stay_in_the_area(seed, n, distance):
    points = scatter(np.random.default_rng(seed), AREA, n, distance=distance)
    assert points.shape == (n, 2)
    assert ((points >= AREA.low) & (points <= AREA.high)).all()
    gaps = [np.linalg.norm(a - b) for i, a in enumerate(points) for b in points[:i]]
    assert min(gaps, default=np.inf) >= distance


def test_the_same_seed_scatters_the_same_points():
    first, second = (scatter(np.random.default_rng(3), AREA, 3, distance=0.05) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_too_many_things_for_the_area_are_refused():
    with pytest.raises(UserError, match=r"no room for 9 bodies 0\.20 m apart in an area of 0\.20 x 0\.30 m"):
        scatter(np.random.default_rng(0), AREA, 9, distance=0.2)
