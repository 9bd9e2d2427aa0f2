"""One iteration of ESRGAN's training in PyTorch: as the official trainer does it, and as well as it goes.

`official` is BasicSR's: NCHW, eager, float32, ReLUs in place, D run three times in its own step, losses fetched in
every iteration, EMA parameter by parameter. The other form trains the same with less work: channels_last, D run
twice, EMA and Adam over all parameters at once, nothing fetched; autocast and torch.compile where asked for.
"""

# ruff: noqa: D101, D102 (the networks are ESRGAN's)

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)
from torch import Tensor, nn

VGG19 = (64, 64, 0, 128, 128, 0, 256, 256, 256, 256, 0, 512, 512, 512, 512, 0, 512, 512, 512, 512)


def lrelu(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.2, inplace=True)


class DenseBlock(nn.Module):
    def __init__(self, feat: int, grow: int):
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv2d(feat + k * grow, feat if k == 4 else grow, 3, padding=1) for k in range(5)
        )

    def forward(self, x: Tensor) -> Tensor:
        seen = [x]
        for conv in self.convs[:4]:
            seen.append(lrelu(conv(torch.cat(seen, 1))))
        return self.convs[4](torch.cat(seen, 1)) * 0.2 + x


class RRDB(nn.Module):
    def __init__(self, feat: int, grow: int):
        super().__init__()
        self.blocks = nn.Sequential(*(DenseBlock(feat, grow) for _ in range(3)))

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(x) * 0.2 + x


class Generator(nn.Module):
    def __init__(self, feat: int, blocks: int, grow: int):
        super().__init__()
        self.first = nn.Conv2d(3, feat, 3, padding=1)
        self.body = nn.Sequential(*(RRDB(feat, grow) for _ in range(blocks)))
        self.after_body, self.up1, self.up2, self.hr = (nn.Conv2d(feat, feat, 3, padding=1) for _ in range(4))
        self.last = nn.Conv2d(feat, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        x = x + self.after_body(self.body(x))
        for conv in (self.up1, self.up2):
            x = lrelu(conv(F.interpolate(x, scale_factor=2, mode="nearest")))
        return self.last(lrelu(self.hr(x)))


class Discriminator(nn.Module):
    def __init__(self, feat: int):
        super().__init__()
        layers, channels = [], 3
        for stage in range(5):
            width = feat * min(2**stage, 8)
            layers += [nn.Conv2d(channels, width, 3, padding=1, bias=stage == 0)]
            layers += [nn.BatchNorm2d(width)] if stage else []
            layers += [nn.LeakyReLU(0.2, inplace=True)]
            layers += [nn.Conv2d(width, width, 4, 2, 1, bias=False), nn.BatchNorm2d(width)]
            layers += [nn.LeakyReLU(0.2, inplace=True)]
            channels = width
        self.features = nn.Sequential(*layers)
        self.linear1, self.linear2 = nn.Linear(channels * 16, 100), nn.Linear(100, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear2(lrelu(self.linear1(self.features(x).flatten(1))))


class VGGFeatures(nn.Module):
    """VGG19 up to conv5_4, before its ReLU; frozen."""

    def __init__(self):
        super().__init__()
        layers, channels = [], 3
        for width in VGG19:
            if width:
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
                channels = width
            else:
                layers.append(nn.MaxPool2d(2))
        self.layers = nn.Sequential(*layers[:-1])
        self.register_buffer("mean", torch.tensor((0.485, 0.456, 0.406)).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor((0.229, 0.224, 0.225)).view(1, 3, 1, 1))
        self.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers((x - self.mean) / self.std)


class Iteration:
    """Networks, optimizers, EMA, and one fixed batch; call it for one iteration of `stage`, "gan" or "pixel"."""

    def __init__(
        self,
        stage: str,
        *,
        feat: int,
        blocks: int,
        batch: int,
        patch: int,
        device: str,
        official: bool = True,
        bfloat16: bool = False,
        compiled: bool = False,
    ):
        torch.manual_seed(0)
        torch.backends.cudnn.benchmark = True  # as BasicSR's train.py
        layout = torch.contiguous_format if official else torch.channels_last
        gan = stage == "gan"
        networks = [Generator(feat, blocks, feat // 2), *([Discriminator(64), VGGFeatures()] if gan else [])]
        networks = [network.to(device, memory_format=layout) for network in networks]
        self.ema = copy.deepcopy(networks[0]).requires_grad_(False)
        options = {} if official else {"fused": True}
        self.optimizers = [
            torch.optim.Adam(network.parameters(), lr=1e-4, betas=(0.9, 0.99), **options)
            for network in networks[:2]
        ]
        self.parameters = list(networks[0].parameters())
        self.averages = list(self.ema.parameters())
        if compiled:
            networks = [torch.compile(network) for network in networks]
        self.g, self.d, self.vgg = networks if gan else (networks[0], None, None)
        self.lr, self.hr = (
            torch.rand(batch, 3, size, size, device=device).to(memory_format=layout)
            for size in (patch // 4, patch)
        )
        self.official = official
        self.cast = torch.autocast(torch.device(device).type, torch.bfloat16, enabled=bfloat16)

    def __call__(self) -> dict[str, Tensor] | dict[str, float]:
        losses = self._gan() if self.d is not None else self._pixel()
        with torch.no_grad():
            if self.official:
                for average, parameter in zip(self.averages, self.parameters, strict=True):
                    average.mul_(0.999).add_(parameter, alpha=0.001)
            else:
                torch._foreach_lerp_(self.averages, self.parameters, 0.001)
        return {name: loss.item() for name, loss in losses.items()} if self.official else losses

    def _pixel(self) -> dict[str, Tensor]:
        self.optimizers[0].zero_grad()
        with self.cast:
            loss = F.l1_loss(self.g(self.lr).float(), self.hr)
        loss.backward()
        self.optimizers[0].step()
        return {"l_g_pix": loss.detach()}

    def _gan(self) -> dict[str, Tensor]:
        g, d, vgg, hr = self.g, self.d, self.vgg, self.hr
        d.requires_grad_(False)
        self.optimizers[0].zero_grad()
        with self.cast:
            sr = g(self.lr).float()
            l_g_pix = 1e-2 * F.l1_loss(sr, hr)
            l_g_percep = F.l1_loss(vgg(sr).float(), vgg(hr).float())
            real, fake = d(hr).detach().float(), d(sr).float()
            l_g_gan = 5e-3 * (bce(real - fake.mean(), 0.0) + bce(fake - real.mean(), 1.0)) / 2
        (l_g_pix + l_g_percep + l_g_gan).backward()
        self.optimizers[0].step()

        d.requires_grad_(True)
        self.optimizers[1].zero_grad()
        sr = sr.detach()
        if self.official:
            fake = d(sr).detach()
            real = d(hr)
            l_d_real = 0.5 * bce(real - fake.mean(), 1.0)
            l_d_real.backward()
            fake = d(sr)
            l_d_fake = 0.5 * bce(fake - real.mean().detach(), 0.0)
            l_d_fake.backward()
        else:
            with self.cast:
                real, fake = d(hr).float(), d(sr).float()
            l_d_real = 0.5 * bce(real - fake.mean().detach(), 1.0)
            l_d_fake = 0.5 * bce(fake - real.mean().detach(), 0.0)
            (l_d_real + l_d_fake).backward()
        self.optimizers[1].step()
        named = {"l_g_pix": l_g_pix, "l_g_percep": l_g_percep, "l_g_gan": l_g_gan}
        named |= {"l_d_real": l_d_real, "l_d_fake": l_d_fake}
        return {name: loss.detach() for name, loss in named.items()}


def bce(logits: Tensor, target: float) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))
