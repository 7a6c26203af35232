"""Channels rearranged, selected, written to and compared in ways that a cut must not confuse."""

import torch
from torch.nn import functional as F

from tests.reprune.pruning.zoo.adversarial import awkward


def unbound(x):
    a, b = x.view(x.shape[0], 2, -1, *x.shape[2:]).unbind(1)
    return a - b


def stacked(x):
    return torch.stack([x, x.flip(1), x.relu()], dim=1).amax(1)


def unfolded_channels(x):
    return x.unfold(1, 4, 4).mean(-1)


def gathered(x):
    order = x.mean((0, 2, 3)).argsort()
    return x.gather(1, order.view(1, -1, 1, 1).expand_as(x))


def scattered(x):
    return torch.zeros_like(x).scatter(1, torch.zeros(x.shape, dtype=torch.long), x)


def written_slices(x):
    y = torch.zeros(x.shape[0], 32, *x.shape[2:])
    y[:, :16] = x
    y[:, 16:] = x.flip(1)
    return y


def written_in_place(x):
    y = x.clone()
    y[:, 3] = 0
    return y


def added_in_place(x):
    y = x * 2
    y += x.mean((2, 3), keepdim=True)
    y.clamp_(min=-1)
    return y


def written_halves(x):
    y = torch.empty_like(x)
    y[:, ::2] = x[:, 1::2]
    y[:, 1::2] = x[:, ::2]
    return y


def masked_by_position(x):
    mask = torch.arange(x.shape[1]) % 2 == 0
    return x.masked_fill(mask.view(1, -1, 1, 1), 0.0)


def where_by_mean(x):
    return torch.where(x.mean((2, 3), keepdim=True) > 0, x, -x)


def alternating_sign(x):
    return x * torch.tensor([1.0, -1.0]).repeat(x.shape[1] // 2).view(1, -1, 1, 1)


def positional(x):
    return x + torch.linspace(0, 1, x.shape[1]).view(1, -1, 1, 1)


def constant_scale(x):
    return x * torch.full((x.shape[1], 1, 1), 0.5)


def fourier_space(x):
    return torch.fft.irfft2(torch.fft.rfft2(x), s=x.shape[-2:])


def fourier_channels(x):
    return torch.fft.fft(x, dim=1).real


def complex_parts(x):
    a, b = x.chunk(2, dim=1)
    z = torch.complex(a, b)
    return torch.cat([(z * z).real, z.abs()], dim=1)


def rotated_pairs(x):
    pairs = x.unflatten(1, (-1, 2))
    return torch.stack([-pairs[:, :, 1], pairs[:, :, 0]], 2).flatten(1, 2)


def outer_product(x):
    s = x.mean((2, 3))
    return (s[:, :, None] * s[:, None, :]).flatten(1)[..., None, None]


def gram(x):
    y = x.flatten(2)
    return (y @ y.transpose(1, 2)).flatten(1)[..., None, None]


def channels_last(x):
    return x.permute(0, 2, 3, 1).contiguous().view(x.shape[0], -1, x.shape[1]).transpose(1, 2).view(x.shape)


def transposed_shuffle(x):
    return x.transpose(0, 1).reshape(2, 8, *x[:, 0].shape).transpose(0, 1).reshape(16, *x[:, 0].shape).transpose(0, 1)


def maxout(x):
    return x.view(x.shape[0], x.shape[1] // 4, 4, *x.shape[2:]).amax(2)


def maxout_across(x):
    return x.view(x.shape[0], 4, x.shape[1] // 4, *x.shape[2:]).amax(1)


def lookup_list(x):
    return x[:, [0, 2, 4, 6, 1, 3, 5, 7]]


def boolean_index(x):
    return x[:, torch.arange(16) < 8]


def first_and_rest(x):
    return torch.cat([x[:, :1] * 2, x[:, 1:]], dim=1)


def negative_slice(x):
    return x[:, -4:] + x[:, :4]


def shifted(x):
    """Move an eighth of the channels left and an eighth right, as temporal shifts do."""
    fold = x.shape[1] // 8
    left = F.pad(x[:, :fold, :, 1:], (0, 1))
    right = F.pad(x[:, fold : 2 * fold, :, :-1], (1, 0))
    return torch.cat([left, right, x[:, 2 * fold :]], dim=1)


def sorted_channels(x):
    return x.sort(dim=1).values


def median_channels(x):
    return x - x.median(dim=1, keepdim=True).values


def standardised(x):
    return (x - x.mean(1, keepdim=True)) / (x.std(1, keepdim=True) + 1e-3)


def range_of_channels(x):
    return (x - x.amin(1, keepdim=True)) / (x.amax(1, keepdim=True) - x.amin(1, keepdim=True) + 1)


def cosine(x):
    return x * F.cosine_similarity(x, x.flip(1), dim=1).unsqueeze(1)


def unit_length(x):
    return F.normalize(x, dim=1)


def local_response(x):
    return F.local_response_norm(x, 3)


def distances(x):
    s = x.flatten(2).transpose(1, 2)
    return x * torch.cdist(s, s).mean(-1).view(x.shape[0], 1, *x.shape[2:])


def folded_space(x):
    columns = F.unfold(x, 3, padding=1)
    return columns.view(x.shape[0], x.shape[1], 9, -1).mean(2).view(x.shape)


def unfolded_features(x):
    return F.unfold(x, 2, stride=2).view(x.shape[0], -1, 4, 4)


def windows(x):
    b, c, h, w = x.shape
    y = x.view(b, c, h // 4, 4, w // 4, 4).permute(0, 2, 4, 3, 5, 1).reshape(-1, 16, c)
    y = (y @ y.transpose(1, 2)).softmax(-1) @ y
    return y.view(b, h // 4, w // 4, 4, 4, c).permute(0, 5, 1, 3, 2, 4).reshape(b, c, h, w)


def rolled_space(x):
    return torch.roll(x, (1, -1), dims=(2, 3)) + x.rot90(1, (2, 3))


def split_loop(x):
    total = 0
    for i, part in enumerate(x.split(x.shape[1] // 4, dim=1)):
        total = total + part * (i + 1)
    return total


def hierarchical(x):
    """Each part takes in the one before it, as Res2Net does."""
    parts = list(x.chunk(4, 1))
    for i in range(1, 4):
        parts[i] = torch.sigmoid(parts[i] + parts[i - 1])
    return torch.cat(parts, 1)


def dense_loop(x):
    seen = [x[:, :4]]
    for i in range(1, 4):
        seen.append(torch.cat(seen, 1).mean(1, keepdim=True) + x[:, 4 * i : 4 * i + 4])
    return torch.cat(seen, 1)


def triangular(x):
    y = x.flatten(2)
    return (torch.tril(y @ y.transpose(1, 2)) @ y).view_as(x)


def kronecker(x):
    return torch.einsum("bchw,k->bckhw", x, torch.tensor([1.0, 0.5])).flatten(1, 2)


def spread(x):
    return x.unsqueeze(2).expand(-1, -1, 2, -1, -1).reshape(x.shape[0], -1, *x.shape[2:])


def spread_across(x):
    return x.unsqueeze(1).expand(-1, 2, -1, -1, -1).reshape(x.shape[0], -1, *x.shape[2:])


def counted(x):
    return x * (x.shape[1] / 16) + len(x[0]) * 0.1


def summed_by_hand(x):
    total = x[:, 0]
    for i in range(1, x.shape[1]):
        total = total + x[:, i]
    return x * total.unsqueeze(1)


def attention_to_channels(x):
    """Efficient channel attention: a 1-D convolution slides along the channels."""
    s = x.mean((2, 3)).unsqueeze(1)
    return x * F.conv1d(s, torch.ones(1, 1, 3) / 3, padding=1).transpose(1, 2).unsqueeze(-1).sigmoid()


def pooled_channels(x):
    return F.max_pool1d(x.flatten(2).transpose(1, 2), 2).transpose(1, 2).view(x.shape[0], -1, *x.shape[2:])


def depth_as_channels(x):
    return F.avg_pool3d(x.unsqueeze(1), (2, 1, 1)).squeeze(1)


def interpolated(x):
    return F.interpolate(F.interpolate(x, scale_factor=2, mode="bilinear"), (4, 4))


def blurred(x):
    kernel = torch.ones(x.shape[1], 1, 3, 3) / 9
    return F.conv2d(x, kernel, padding=1, groups=x.shape[1])


def sliced_steps(x):
    return x[:, 1::3] + x[:, ::3][:, : x[:, 1::3].shape[1]]


def to_tokens(x):
    b, c, h, w = x.shape
    y = x.reshape(b, c, h * w).permute(2, 0, 1)
    return F.layer_norm(y, (c,)).permute(1, 2, 0).reshape(b, c, h, w)


def multiplied_heads(x):
    b, c, h, w = x.shape
    q = x.reshape(b, 4, c // 4, h * w)
    return (torch.einsum("bhdn,bhen->bhde", q, q).softmax(-1) @ q).reshape(b, c, h, w)


MODELS = {
    "unbound": awkward(unbound, after=8),
    "stacked": awkward(stacked),
    "unfolded_channels": awkward(unfolded_channels, after=4),
    "gathered": awkward(gathered),
    "scattered": awkward(scattered),
    "written_slices": awkward(written_slices, after=32),
    "written_in_place": awkward(written_in_place),
    "added_in_place": awkward(added_in_place),
    "written_halves": awkward(written_halves),
    "masked_by_position": awkward(masked_by_position),
    "where_by_mean": awkward(where_by_mean),
    "alternating_sign": awkward(alternating_sign),
    "positional": awkward(positional),
    "constant_scale": awkward(constant_scale),
    "fourier_space": awkward(fourier_space),
    "fourier_channels": awkward(fourier_channels),
    "complex_parts": awkward(complex_parts),
    "rotated_pairs": awkward(rotated_pairs),
    "outer_product": awkward(outer_product, after=256),
    "gram": awkward(gram, after=256),
    "channels_last": awkward(channels_last),
    "transposed_shuffle": awkward(transposed_shuffle),
    "maxout": awkward(maxout, after=4),
    "maxout_across": awkward(maxout_across, after=4),
    "lookup_list": awkward(lookup_list, after=8),
    "boolean_index": awkward(boolean_index, after=8),
    "first_and_rest": awkward(first_and_rest),
    "negative_slice": awkward(negative_slice, after=4),
    "shifted": awkward(shifted),
    "sorted_channels": awkward(sorted_channels),
    "median_channels": awkward(median_channels),
    "standardised": awkward(standardised),
    "range_of_channels": awkward(range_of_channels),
    "cosine": awkward(cosine),
    "unit_length": awkward(unit_length),
    "local_response": awkward(local_response),
    "distances": awkward(distances),
    "folded_space": awkward(folded_space),
    "unfolded_features": awkward(unfolded_features, after=64),
    "windows": awkward(windows),
    "rolled_space": awkward(rolled_space),
    "split_loop": awkward(split_loop, after=4),
    "hierarchical": awkward(hierarchical),
    "dense_loop": awkward(dense_loop),
    "triangular": awkward(triangular),
    "kronecker": awkward(kronecker, after=32),
    "spread": awkward(spread, after=32),
    "spread_across": awkward(spread_across, after=32),
    "counted": awkward(counted),
    "summed_by_hand": awkward(summed_by_hand),
    "attention_to_channels": awkward(attention_to_channels),
    "pooled_channels": awkward(pooled_channels, after=8),
    "depth_as_channels": awkward(depth_as_channels, after=8),
    "interpolated": awkward(interpolated),
    "blurred": awkward(blurred),
    "sliced_steps": awkward(sliced_steps, after=5),
    "to_tokens": awkward(to_tokens),
    "multiplied_heads": awkward(multiplied_heads),
}
