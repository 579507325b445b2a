import numba
import pytest
from numba.core.caching import CacheImpl

from robolearn.jit import jit


def double(value):
    return 2 * value


def test_a_function_gives_the_same_compiled():
    assert jit(double)(21) == double(21)


def test_machine_code_is_kept_for_the_next_process():
    jit(double)(21)
    again = jit(double)  # as another process would see it
    assert again(21) == 42
    assert sum(again.stats.cache_hits.values()) == 1


def test_a_read_only_installation_compiles_without_keeping(monkeypatch):
    monkeypatch.setattr(CacheImpl, "_locator_classes", [])  # numba's places for its cache
    with pytest.raises(RuntimeError, match="no locator"):
        numba.njit(double, cache=True)
    assert jit(double)(21) == 42
