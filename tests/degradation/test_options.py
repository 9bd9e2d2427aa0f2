"""Options: what is refused, by which name."""

import pytest

from esrgan_jax.degradation import DegradationOptions
from esrgan_jax.errors import ConfigError

REFUSED = [
    ({"gt_size": 250}, "`gt_size` .* multiple of `scale`"),
    ({"scale": 0}, "`scale` "),
    ({"resize_prob": (1, 2)}, "`resize_prob` .* 3 shares"),
    ({"resize_prob2": (0, 0, 0)}, "`resize_prob2` "),
    ({"kernel_list2": ("iso", "square")}, "`kernel_list2` .* generalized_aniso"),
    ({"kernel_list": ()}, "`kernel_list` "),
    ({"kernel_prob": (1.0,)}, "`kernel_prob` .* 6 shares"),
    ({"kernel_prob2": (1, 1, 1, 1, 1, -1)}, "`kernel_prob2` "),
    ({"blur_sigma": (0, 3)}, "`blur_sigma` .* above 0, "),
    ({"blur_sigma2": (3, 1)}, "`blur_sigma2` .* smaller one first"),
    ({"noise_range": (-1, 5)}, "`noise_range` .* from 0, "),
    ({"poisson_scale_range2": (1,)}, "`poisson_scale_range2` .* two numbers"),
    ({"jpeg_range2": (30, 100)}, "`jpeg_range2` .* below 100"),
    ({"betag_range": (1.5, 4)}, "`betag_range` .* with 1 in it"),
    ({"resize_range2": (0.3, 0.9)}, "`resize_range2` .* with 1 in it"),
    ({"sinc_prob": 1.5}, "`sinc_prob` .* probability"),
    ({"second_blur_prob": -0.1}, "`second_blur_prob` "),
    ({"final_sinc_prob": 2}, "`final_sinc_prob` "),
]


@pytest.mark.parametrize(("fields", "sentence"), REFUSED)
def test_refused(fields, sentence):
    with pytest.raises(ConfigError, match=sentence) as error:
        DegradationOptions(**fields)
    assert str(error.value).endswith(".")


def test_lists_and_no_noise():
    options = DegradationOptions(
        kernel_list=["iso"], kernel_prob=[3], noise_range=[0, 0], jpeg_range=[20, 20]
    )
    assert options.kernel_list == ("iso",)
    assert hash(options) == hash(
        DegradationOptions(kernel_list=("iso",), kernel_prob=(3,), noise_range=(0, 0), jpeg_range=(20, 20))
    )
