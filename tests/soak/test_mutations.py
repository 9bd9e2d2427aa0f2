"""The mutations, which are run by hand, still fit the code and name tests that exist."""

import pytest
from soak.mutations import MUTATIONS, ROOT


@pytest.mark.parametrize("name", MUTATIONS)
def test_mutation_fits(name):
    mutation = MUTATIONS[name]
    assert mutation.old in (ROOT / "esrgan_jax" / mutation.file).read_text(encoding="utf-8")
    file, _, test = mutation.test.partition("::")
    assert f"def {test.partition('[')[0]}(" in (ROOT / file).read_text(encoding="utf-8")
