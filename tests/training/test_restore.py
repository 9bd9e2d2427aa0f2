"""What a file of another network than the configuration's is told."""

import pytest

from esrgan_jax.errors import ConfigError
from esrgan_jax.models import RRDBNet, VGGStyleDiscriminator
from esrgan_jax.training.restore import check_same_network

OURS = RRDBNet(num_feat=16, num_block=2, num_grow_ch=8)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            RRDBNet(num_feat=8, num_block=2, num_grow_ch=4),
            "num_feat is 8 in a.pth and 16 in the configuration, num_grow_ch 4 and 8: set network_g.num_feat and "
            "network_g.num_grow_ch to the file's values, or give another file.",
        ),
        (
            RRDBNet(scale=2, num_feat=16, num_block=2, num_grow_ch=8),
            "scale is 2 in a.pth and 4 in the configuration: set scale to the file's values, or give another file.",
        ),
        (
            RRDBNet(num_feat=9, num_in_ch=1, num_out_ch=1),
            "num_in_ch is 1 in a.pth and 3 in the configuration, num_out_ch 1 and 3: training is for RGB pictures, "
            "so give a file of a network with 3 channels.",
        ),
        (
            VGGStyleDiscriminator(),
            "type is VGGStyleDiscriminator in a.pth and RRDBNet in the configuration: set network_g.type to the "
            "file's values, or give another file.",
        ),
    ],
)
def test_each_field_and_both_values(given, sentence):
    with pytest.raises(ConfigError) as caught:
        check_same_network(given, OURS, "network_g", "a.pth")
    assert str(caught.value) == sentence
    check_same_network(OURS.clone(remat=True), OURS, "network_g", "a.pth")


def test_a_discriminator():
    with pytest.raises(ConfigError, match=r"input_size is 256 in b\.pth and 128 in .*: set gan\.gt_size to"):
        check_same_network(
            VGGStyleDiscriminator(input_size=256), VGGStyleDiscriminator(), "network_d", "b.pth"
        )
