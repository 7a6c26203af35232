"""Recurrent networks and the mixing of tokens without attention."""

import torch
from torch import nn
from torch.nn import functional as F


class Recurrent(nn.Module):
    def __init__(self, cell, layers: int = 1, bidirectional: bool = False):
        super().__init__()
        self.emb, self.rnn = nn.Embedding(20, 8), cell(8, 12, layers, batch_first=True, bidirectional=bidirectional)
        self.hidden, self.out = nn.Linear(24 if bidirectional else 12, 16), nn.Linear(16, 3)

    def forward(self, x):
        return self.out(F.relu(self.hidden(self.rnn(self.emb(x))[0][:, -1])))


class Mixer(nn.Module):
    def __init__(self, t: int, c: int):
        super().__init__()
        self.n1, self.n2 = nn.LayerNorm(c), nn.LayerNorm(c)
        self.tokens = nn.Sequential(nn.Linear(t, 24), nn.GELU(), nn.Linear(24, t))
        self.channels = nn.Sequential(nn.Linear(c, 32), nn.GELU(), nn.Linear(32, c))

    def forward(self, x):
        x = x + self.tokens(self.n1(x).transpose(1, 2)).transpose(1, 2)
        return x + self.channels(self.n2(x))


class MLPMixer(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch, self.blocks, self.out = (
            nn.Conv2d(3, 16, 4, 4),
            nn.Sequential(Mixer(16, 16), Mixer(16, 16)),
            nn.Linear(16, 5),
        )

    def forward(self, x):
        return self.out(self.blocks(self.patch(x).flatten(2).transpose(1, 2)).mean(1))


class Autoencoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(12, 32), nn.BatchNorm1d(32), nn.SELU(), nn.Linear(32, 8), nn.Sigmoid())
        self.decoder = nn.Sequential(nn.Linear(8, 32), nn.LeakyReLU(), nn.Linear(32, 12))

    def forward(self, x):
        return self.decoder(self.encoder(x))


def words():
    return torch.randint(0, 20, (2, 7))


MODELS = {
    "lstm": lambda: (Recurrent(nn.LSTM), words()),
    "gru_two_layers": lambda: (Recurrent(nn.GRU, 2), words()),
    "lstm_bidirectional": lambda: (Recurrent(nn.LSTM, 1, True), words()),
    "rnn": lambda: (Recurrent(nn.RNN), words()),
    "mlp_mixer": lambda: (MLPMixer(), torch.randn(2, 3, 16, 16)),
    "autoencoder": lambda: (Autoencoder(), torch.randn(4, 12)),
}
