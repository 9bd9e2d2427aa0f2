"""Colour profiles made by hand, as small as the ICC specification (v2.4) allows."""

import struct


def _s15(*values):
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def _profile(space, device_class, connection, tags):
    body, table = b"", b""
    start = 128 + 4 + 12 * len(tags)
    for name, data in tags:
        table += struct.pack(">4sII", name, start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    size = start + len(body)
    header = struct.pack(">I4sI4s4s4s", size, b"test", 0x02400000, device_class, space, connection)
    header += struct.pack(">6H4s", 2024, 1, 1, 0, 0, 0, b"acsp") + bytes(28) + _s15(0.9642, 1, 0.8249)
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def _text(text):
    description = b"desc" + bytes(4) + struct.pack(">I", len(text) + 1) + text + b"\0" + bytes(78)
    return [(b"desc", description), (b"cprt", b"text" + bytes(4) + b"public domain\0")]


def _xyz(*values):
    return b"XYZ " + bytes(4) + _s15(*values)


def _gamma(value):
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(value * 256))


WHITE = [(b"wtpt", _xyz(0.9642, 1, 0.8249))]


def adobe_rgb():
    """Adobe RGB (1998): its primaries adapted to D50, gamma 2.2."""
    columns = {b"r": (0.60974, 0.31111, 0.01947), b"g": (0.20528, 0.62567, 0.06087)}
    columns[b"b"] = (0.14919, 0.06322, 0.74457)
    tags = [(name + b"XYZ", _xyz(*values)) for name, values in columns.items()]
    tags += [(name + b"TRC", _gamma(2.2)) for name in columns]
    return _profile(b"RGB ", b"mntr", b"XYZ ", _text(b"Adobe RGB (1998), by hand") + WHITE + tags)


def grey():
    """Grey with gamma 2.2."""
    return _profile(b"GRAY", b"mntr", b"XYZ ", [*_text(b"grey 2.2"), *WHITE, (b"kTRC", _gamma(2.2))])


def cmyk_to_lab(l_star):
    """A printer's profile by which every mixture of inks is the same grey."""
    grid = struct.pack(">3B", round(l_star * 2.55), 128, 128) * 2**4
    ramp = bytes(range(256))
    identity = _s15(1, 0, 0, 0, 1, 0, 0, 0, 1)
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + identity + ramp * 4 + grid + ramp * 3
    return _profile(b"CMYK", b"prtr", b"Lab ", [*_text(b"one grey"), *WHITE, (b"A2B0", table)])
