"""Transformers: packed and separate projections, encoders, decoders, grouped queries, rotary, gates, experts."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class SeparateAttention(nn.Module):
    """BERT's: three projections, heads counted in an attribute, scores written out."""

    def __init__(self, c: int, heads: int):
        super().__init__()
        self.num_heads, self.head_size, self.all_head_size = heads, c // heads, c
        self.query, self.key, self.value, self.out = (nn.Linear(c, c) for _ in range(4))

    def split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:-1], self.num_heads, self.head_size).permute(0, 2, 1, 3)

    def forward(self, x):
        q, k, v = self.split(self.query(x)), self.split(self.key(x)), self.split(self.value(x))
        p = F.dropout((q @ k.transpose(-1, -2) / math.sqrt(self.head_size)).softmax(-1), 0.1, self.training)
        y = (p @ v).permute(0, 2, 1, 3).contiguous()
        return self.out(y.view(*y.shape[:-2], self.all_head_size))


class PackedAttention(nn.Module):
    """timm's: one projection, heads counted in an attribute, merged back to a stated width."""

    def __init__(self, c: int, heads: int):
        super().__init__()
        self.num_heads, self.head_dim = heads, c // heads
        self.qkv, self.proj = nn.Linear(c, 3 * c), nn.Linear(c, c)

    def forward(self, x):
        b, n, _ = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.num_heads, self.head_dim).permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v)
        return self.proj(y.transpose(1, 2).reshape(b, n, self.num_heads * self.head_dim))


class WidthAttention(nn.Module):
    """DeiT's and nanoGPT's: the width of the stream is read from the input and used again for the heads."""

    def __init__(self, c: int, heads: int):
        super().__init__()
        self.num_heads, self.scale = heads, (c // heads) ** -0.5
        self.qkv, self.proj = nn.Linear(c, 3 * c, bias=False), nn.Linear(c, c)

    def forward(self, x):
        b, n, c = x.shape
        qkv = self.qkv(x).reshape(b, n, 3, self.num_heads, c // self.num_heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv[0], qkv[1], qkv[2]
        p = (q * self.scale @ k.transpose(-2, -1)).softmax(dim=-1)
        return self.proj((p @ v).transpose(1, 2).reshape(b, n, c))


class Block(nn.Module):
    def __init__(self, attention: type[nn.Module], c: int = 32, heads: int = 4):
        super().__init__()
        self.n1, self.n2, self.attention = nn.LayerNorm(c), nn.LayerNorm(c), attention(c, heads)
        self.mlp = nn.Sequential(nn.Linear(c, 2 * c), nn.GELU(), nn.Dropout(0.1), nn.Linear(2 * c, c))

    def forward(self, x):
        x = x + self.attention(self.n1(x))
        return x + self.mlp(self.n2(x))


class ViT(nn.Module):
    def __init__(self, attention: type[nn.Module], c: int = 32):
        super().__init__()
        self.patch = nn.Conv2d(3, c, 4, 4)
        self.cls, self.pos = nn.Parameter(torch.randn(1, 1, c)), nn.Parameter(torch.randn(1, 17, c))
        self.blocks, self.norm, self.head = (
            nn.Sequential(Block(attention, c), Block(attention, c)),
            nn.LayerNorm(c),
            nn.Linear(c, 10),
        )

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(x.shape[0], -1, -1), x], dim=1) + self.pos
        return self.head(self.norm(self.blocks(x))[:, 0])


class RMSNorm(nn.Module):
    def __init__(self, c: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(c))

    def forward(self, x):
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))


def rotate_half(x: Tensor) -> Tensor:
    a, b = x[..., : x.shape[-1] // 2], x[..., x.shape[-1] // 2 :]
    return torch.cat((-b, a), dim=-1)


class GroupedQueryAttention(nn.Module):
    def __init__(self, c: int, heads: int, kv_heads: int):
        super().__init__()
        self.head_dim, self.repeats = c // heads, heads // kv_heads
        self.q_proj, self.o_proj = nn.Linear(c, c, bias=False), nn.Linear(c, c, bias=False)
        self.k_proj, self.v_proj = (nn.Linear(c, kv_heads * self.head_dim, bias=False) for _ in range(2))

    def forward(self, x, cos, sin):
        shape = (*x.shape[:-1], -1, self.head_dim)
        q, k, v = (p(x).view(shape).transpose(1, 2) for p in (self.q_proj, self.k_proj, self.v_proj))
        q, k = q * cos + rotate_half(q) * sin, k * cos + rotate_half(k) * sin
        k, v = self.repeat(k), self.repeat(v)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o_proj(y.transpose(1, 2).reshape(*x.shape[:-1], -1))

    def repeat(self, x: Tensor) -> Tensor:
        b, h, t, d = x.shape
        return x[:, :, None].expand(b, h, self.repeats, t, d).reshape(b, h * self.repeats, t, d)


class GatedMLP(nn.Module):
    def __init__(self, c: int, h: int):
        super().__init__()
        self.gate_proj, self.up_proj, self.down_proj = (
            nn.Linear(c, h, bias=False),
            nn.Linear(c, h, bias=False),
            nn.Linear(h, c, bias=False),
        )

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Experts(nn.Module):
    """A dense mixture: every expert runs, the router weighs them."""

    def __init__(self, c: int, h: int, count: int = 3):
        super().__init__()
        self.router, self.experts = nn.Linear(c, count), nn.ModuleList(GatedMLP(c, h) for _ in range(count))

    def forward(self, x):
        weights = self.router(x).softmax(-1)
        return sum(weights[..., i : i + 1] * expert(x) for i, expert in enumerate(self.experts))


class DecoderLayer(nn.Module):
    def __init__(self, c: int, heads: int, kv_heads: int, mlp: type[nn.Module]):
        super().__init__()
        self.attention, self.mlp = GroupedQueryAttention(c, heads, kv_heads), mlp(c, 2 * c)
        self.n1, self.n2 = RMSNorm(c), RMSNorm(c)

    def forward(self, x, cos, sin):
        x = x + self.attention(self.n1(x), cos, sin)
        return x + self.mlp(self.n2(x))


class Llama(nn.Module):
    def __init__(
        self, c: int = 32, heads: int = 4, kv_heads: int = 2, mlp: type[nn.Module] = GatedMLP, tied: bool = False
    ):
        super().__init__()
        self.embed, self.norm, self.lm_head = nn.Embedding(40, c), RMSNorm(c), nn.Linear(c, 40, bias=False)
        self.layers = nn.ModuleList(DecoderLayer(c, heads, kv_heads, mlp) for _ in range(2))
        self.register_buffer(
            "frequencies", 1.0 / 10000 ** (torch.arange(0, c // heads, 2) / (c // heads)), persistent=False
        )
        if tied:
            self.lm_head.weight = self.embed.weight

    def forward(self, ids):
        angles = torch.arange(ids.shape[1])[:, None] * self.frequencies
        angles = torch.cat((angles, angles), dim=-1)
        x = self.embed(ids)
        for layer in self.layers:
            x = layer(x, angles.cos(), angles.sin())
        return self.lm_head(self.norm(x))


class Conv1D(nn.Module):
    """GPT-2's transposed linear layer."""

    def __init__(self, o: int, i: int):
        super().__init__()
        self.nf, self.weight, self.bias = o, nn.Parameter(torch.randn(i, o) * 0.2), nn.Parameter(torch.zeros(o))

    def forward(self, x):
        return torch.addmm(self.bias, x.view(-1, x.size(-1)), self.weight).view(*x.size()[:-1], self.nf)


class GPT2Block(nn.Module):
    def __init__(self, c: int, heads: int):
        super().__init__()
        self.heads, self.split_size, self.head_dim = heads, c, c // heads
        self.c_attn, self.c_proj, self.c_fc, self.m_proj = (
            Conv1D(3 * c, c),
            Conv1D(c, c),
            Conv1D(4 * c, c),
            Conv1D(c, 4 * c),
        )
        self.n1, self.n2 = nn.LayerNorm(c), nn.LayerNorm(c)

    def forward(self, x):
        q, k, v = self.c_attn(self.n1(x)).split(self.split_size, dim=2)
        q, k, v = (y.view(*y.shape[:-1], -1, self.head_dim).transpose(1, 2) for y in (q, k, v))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2)
        x = x + self.c_proj(y.reshape(*y.shape[:-2], -1))
        return x + self.m_proj(F.gelu(self.c_fc(self.n2(x)), approximate="tanh"))


class GPT2(nn.Module):
    def __init__(self, c: int = 32):
        super().__init__()
        self.wte, self.wpe, self.h = (
            nn.Embedding(40, c),
            nn.Embedding(16, c),
            nn.Sequential(GPT2Block(c, 4), GPT2Block(c, 4)),
        )
        self.norm, self.lm_head = nn.LayerNorm(c), nn.Linear(c, 40, bias=False)
        self.lm_head.weight = self.wte.weight

    def forward(self, ids):
        return self.lm_head(self.norm(self.h(self.wte(ids) + self.wpe(torch.arange(ids.shape[1])))))


class EncoderDecoder(nn.Module):
    """Cross-attention with a learned bias per head, as T5's."""

    def __init__(self, c: int = 32):
        super().__init__()
        self.emb, self.encoder, self.query, self.out = (
            nn.Embedding(40, c),
            Block(SeparateAttention, c),
            nn.Linear(c, c),
            nn.Linear(c, 40),
        )
        self.key, self.value, self.o, self.heads, self.d = nn.Linear(c, c), nn.Linear(c, c), nn.Linear(c, c), 4, c // 4
        self.bias = nn.Parameter(torch.randn(1, 4, 1, 1))

    def forward(self, source, target):
        memory, x = self.encoder(self.emb(source)), self.emb(target)
        q, k, v = (
            p.unflatten(-1, (self.heads, self.d)).transpose(1, 2)
            for p in (self.query(x), self.key(memory), self.value(memory))
        )
        p = (torch.einsum("bhqd,bhkd->bhqk", q, k) + self.bias).softmax(-1)
        return self.out(x + self.o(torch.einsum("bhqk,bhkd->bqhd", p, v).flatten(2)))


class Stock(nn.Module):
    """torch's own encoder layer, whose attention ties heads to the stream."""

    def __init__(self, c: int = 32):
        super().__init__()
        layer = nn.TransformerEncoderLayer(c, 4, 48, batch_first=True, norm_first=True)
        self.inp, self.encoder, self.out = (
            nn.Linear(6, c),
            nn.TransformerEncoder(layer, 2, enable_nested_tensor=False),
            nn.Linear(c, 3),
        )

    def forward(self, x):
        return self.out(self.encoder(self.inp(x)).mean(1))


def ids() -> Tensor:
    return torch.randint(0, 40, (2, 9))


MODELS = {
    "vit_separate": lambda: (ViT(SeparateAttention), torch.randn(2, 3, 16, 16)),
    "vit_packed": lambda: (ViT(PackedAttention), torch.randn(2, 3, 16, 16)),
    "vit_width": lambda: (ViT(WidthAttention), torch.randn(2, 3, 16, 16)),
    "llama": lambda: (Llama(), ids()),
    "llama_tied": lambda: (Llama(tied=True), ids()),
    "mixtral": lambda: (Llama(mlp=Experts), ids()),
    "gpt2": lambda: (GPT2(), ids()),
    "encoder_decoder": lambda: (EncoderDecoder(), (ids(), torch.randint(0, 40, (2, 5)))),
    "transformer_encoder": lambda: (Stock(), torch.randn(2, 7, 6)),
}
