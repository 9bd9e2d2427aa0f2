"""The networks in torch (NCHW), under the official parameter names, written from the recipe alone."""

import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)
from torch import Tensor, nn

from .weights import DISCRIMINATOR_STAGES, vgg_layers

SLOPE = 0.2
RESIDUAL_SCALE = 0.2


def leaky_relu(x: Tensor) -> Tensor:
    return F.leaky_relu(x, SLOPE)


class ResidualDenseBlock(nn.Module):
    """Five convolutions, each seeing the block's input and all earlier outputs."""

    def __init__(self, num_feat: int, num_grow_ch: int):
        super().__init__()
        for k in range(1, 6):
            inputs = num_feat + (k - 1) * num_grow_ch
            setattr(self, f"conv{k}", nn.Conv2d(inputs, num_feat if k == 5 else num_grow_ch, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        seen = [x]
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4):
            seen.append(leaky_relu(conv(torch.cat(seen, dim=1))))
        return x + RESIDUAL_SCALE * self.conv5(torch.cat(seen, dim=1))


class RRDB(nn.Module):
    def __init__(self, num_feat: int, num_grow_ch: int):
        super().__init__()
        self.rdb1 = ResidualDenseBlock(num_feat, num_grow_ch)
        self.rdb2 = ResidualDenseBlock(num_feat, num_grow_ch)
        self.rdb3 = ResidualDenseBlock(num_feat, num_grow_ch)

    def forward(self, x: Tensor) -> Tensor:
        return x + RESIDUAL_SCALE * self.rdb3(self.rdb2(self.rdb1(x)))


class RRDBNet(nn.Module):
    """The generator. Scales 2 and 1 fold pixels into channels first; from there every scale enlarges by 4."""

    def __init__(
        self,
        scale: int = 4,
        num_feat: int = 64,
        num_block: int = 23,
        num_grow_ch: int = 32,
        num_in_ch: int = 3,
        num_out_ch: int = 3,
    ):
        super().__init__()
        self.unshuffle = {4: 1, 2: 2, 1: 4}[scale]
        self.conv_first = nn.Conv2d(num_in_ch * self.unshuffle**2, num_feat, 3, padding=1)
        self.body = nn.Sequential(*(RRDB(num_feat, num_grow_ch) for _ in range(num_block)))
        self.conv_body = nn.Conv2d(num_feat, num_feat, 3, padding=1)
        self.conv_up1 = nn.Conv2d(num_feat, num_feat, 3, padding=1)
        self.conv_up2 = nn.Conv2d(num_feat, num_feat, 3, padding=1)
        self.conv_hr = nn.Conv2d(num_feat, num_feat, 3, padding=1)
        self.conv_last = nn.Conv2d(num_feat, num_out_ch, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.pixel_unshuffle(x, self.unshuffle)
        feat = self.conv_first(x)
        feat = feat + self.conv_body(self.body(feat))
        for conv in (self.conv_up1, self.conv_up2):
            feat = leaky_relu(conv(F.interpolate(feat, scale_factor=2, mode="nearest")))
        return self.conv_last(leaky_relu(self.conv_hr(feat)))


class VGGStyleDiscriminator(nn.Module):
    """The discriminator: logits of shape (n, 1) for square images of exactly `input_size` pixels."""

    def __init__(self, num_in_ch: int = 3, num_feat: int = 64, input_size: int = 128):
        super().__init__()
        self.input_size = input_size
        self.num_stages = DISCRIMINATOR_STAGES[input_size]
        self.conv0_0 = nn.Conv2d(num_in_ch, num_feat, 3, padding=1)  # the only convolution with a bias
        self.conv0_1 = nn.Conv2d(num_feat, num_feat, 4, stride=2, padding=1, bias=False)
        self.bn0_1 = nn.BatchNorm2d(num_feat)
        channels = num_feat
        for stage in range(1, self.num_stages + 1):
            wider = num_feat * min(2**stage, 8)
            self.add_module(f"conv{stage}_0", nn.Conv2d(channels, wider, 3, padding=1, bias=False))
            self.add_module(f"bn{stage}_0", nn.BatchNorm2d(wider))
            self.add_module(f"conv{stage}_1", nn.Conv2d(wider, wider, 4, stride=2, padding=1, bias=False))
            self.add_module(f"bn{stage}_1", nn.BatchNorm2d(wider))
            channels = wider
        self.linear1 = nn.Linear(channels * 4 * 4, 100)
        self.linear2 = nn.Linear(100, 1)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[2:] != (self.input_size, self.input_size):
            raise ValueError(f"images are {tuple(x.shape[2:])}, `input_size` is {self.input_size}")
        x = leaky_relu(self.conv0_0(x))
        x = leaky_relu(self.bn0_1(self.conv0_1(x)))
        for stage in range(1, self.num_stages + 1):
            for half in (0, 1):
                conv, norm = getattr(self, f"conv{stage}_{half}"), getattr(self, f"bn{stage}_{half}")
                x = leaky_relu(norm(conv(x)))
        return self.linear2(leaky_relu(self.linear1(x.flatten(1))))


class VGGFeatures(nn.Module):
    """Frozen VGG: {layer: features}, cut after the deepest layer asked for."""

    def __init__(
        self,
        vgg_type: str = "vgg19",
        layers: list[str] | tuple[str, ...] = ("conv5_4",),
        use_input_norm: bool = True,
        range_norm: bool = False,
    ):
        super().__init__()
        self.layers = tuple(layers)
        self.use_input_norm = use_input_norm
        self.range_norm = range_norm
        table = vgg_layers(vgg_type)
        self.names = [name for name, _ in table]
        self.names = self.names[: 1 + max(self.names.index(layer) for layer in self.layers)]
        modules: list[nn.Module] = []
        for name, widths in table[: len(self.names)]:
            if widths is not None:
                modules.append(nn.Conv2d(*widths, 3, padding=1))
            elif name.startswith("relu"):
                modules.append(nn.ReLU())  # not in place: `conv` layers are wanted as they are before it
            else:
                modules.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*modules)
        self.requires_grad_(False)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        if self.range_norm:
            x = (x + 1) / 2
        if self.use_input_norm:
            x = (x - x.new_tensor((0.485, 0.456, 0.406)).view(1, 3, 1, 1)) / x.new_tensor(
                (0.229, 0.224, 0.225)
            ).view(1, 3, 1, 1)
        found = {}
        for name, module in zip(self.names, self.features, strict=True):
            x = module(x)
            if name in self.layers:
                found[name] = x
        return found


def load_arrays(network: nn.Module, arrays: dict) -> nn.Module:
    """Load NumPy values under their official names (all of them and no other), in their own precision."""
    dtype = next(torch.from_numpy(array).dtype for array in arrays.values() if array.dtype.kind == "f")
    network.to(dtype).load_state_dict(
        {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
    )
    return network


class SRVGGNetCompact(nn.Module):
    """Real-ESRGAN's small generator: one list of layers, then pixel shuffle, plus the input enlarged."""

    def __init__(
        self,
        num_in_ch: int = 3,
        num_out_ch: int = 3,
        num_feat: int = 64,
        num_conv: int = 16,
        upscale: int = 4,
        act_type: str = "prelu",
    ):
        super().__init__()
        self.upscale = upscale
        layers: list[nn.Module] = []
        for i in range(num_conv + 1):
            layers.append(nn.Conv2d(num_feat if i else num_in_ch, num_feat, 3, padding=1))
            layers.append(
                {
                    "prelu": lambda: nn.PReLU(num_feat),
                    "relu": nn.ReLU,
                    "leakyrelu": lambda: nn.LeakyReLU(0.1),
                }[act_type]()
            )
        layers.append(nn.Conv2d(num_feat, num_out_ch * upscale**2, 3, padding=1))
        self.body = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for layer in self.body:
            y = layer(y)
        return F.pixel_shuffle(y, self.upscale) + F.interpolate(x, scale_factor=self.upscale, mode="nearest")


class UNetDiscriminatorSN(nn.Module):
    """Real-ESRGAN's discriminator: logits of every pixel; torch's own spectral norm, the hook."""

    def __init__(self, num_in_ch: int = 3, num_feat: int = 64, skip_connection: bool = True):
        super().__init__()
        self.skip_connection = skip_connection
        norm, f = nn.utils.spectral_norm, num_feat
        self.conv0 = nn.Conv2d(num_in_ch, f, 3, padding=1)
        for i in (1, 2, 3):
            down = nn.Conv2d(f * 2 ** (i - 1), f * 2**i, 4, stride=2, padding=1, bias=False)
            setattr(self, f"conv{i}", norm(down))
        for i, inputs in ((4, 8), (5, 4), (6, 2)):
            up = nn.Conv2d(f * inputs, f * inputs // 2, 3, padding=1, bias=False)
            setattr(self, f"conv{i}", norm(up))
        self.conv7 = norm(nn.Conv2d(f, f, 3, padding=1, bias=False))
        self.conv8 = norm(nn.Conv2d(f, f, 3, padding=1, bias=False))
        self.conv9 = nn.Conv2d(f, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        down = [leaky_relu(self.conv0(x))]
        for conv in (self.conv1, self.conv2, self.conv3):
            down.append(leaky_relu(conv(down[-1])))
        y = down.pop()
        for conv in (self.conv4, self.conv5, self.conv6):
            y = leaky_relu(conv(F.interpolate(y, scale_factor=2, mode="bilinear", align_corners=False)))
            if self.skip_connection:
                y = y + down.pop()
        return self.conv9(leaky_relu(self.conv8(leaky_relu(self.conv7(y)))))
