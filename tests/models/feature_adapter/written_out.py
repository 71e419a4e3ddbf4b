"""Slow, obvious references of the adapters: one image, one class or one step at a time."""

import math

import torch
from torch.nn import functional as F


def unit(vector: torch.Tensor) -> torch.Tensor:
    return vector / vector.norm(dim=-1, keepdim=True)


def dassl_rate(epoch: int, epochs: int, rate: float) -> float:
    """One constant epoch, then a cosine over all epochs that starts at its full value (Dassl)."""
    return 1e-5 if epoch == 0 else rate * 0.5 * (1 + math.cos(math.pi * (epoch - 1) / epochs))


def clap(images, labels, text, scale, epochs=300, penalised=True):
    """ZS-LP and CLAP with autograd and torch's SGD on one full batch."""
    weight = text.clone().requires_grad_()
    probabilities = (scale * unit(images) @ unit(text).T).softmax(-1)
    multipliers = torch.stack([probabilities[labels == c, c].mean() for c in range(len(text))])
    optimizer = torch.optim.SGD([weight], lr=0.1, momentum=0.9)
    for epoch in range(epochs):
        optimizer.param_groups[0]["lr"] = dassl_rate(epoch, epochs, 0.1)
        loss = F.cross_entropy(scale * unit(images) @ unit(weight).T, labels)
        if penalised:
            loss = loss + sum(multipliers[c] * ((weight[c] - text[c]) ** 2).sum() for c in range(len(text))) / len(
                text
            )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return weight.detach()


def taskres(images, labels, text, scale, alpha=0.5, epochs=100):
    residual = torch.zeros_like(text, requires_grad=True)
    optimizer = torch.optim.Adam([residual], lr=2e-3, weight_decay=5e-4)
    for epoch in range(epochs):
        optimizer.param_groups[0]["lr"] = dassl_rate(epoch, epochs, 2e-3)
        loss = F.cross_entropy(scale * unit(images) @ unit(text + alpha * residual).T, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return residual.detach()


def lpp(images, labels, text, steps=300, accumulated=False):
    """LP++ with its own step sizes; `accumulated` never zeroes the gradient of the text weights."""
    images = unit(images)
    classes, count = len(text), len(images)
    weight = torch.stack([images[labels == c].sum(0) for c in range(classes)]).requires_grad_()
    bias = torch.zeros(classes, dtype=images.dtype, requires_grad=True)
    similarity = torch.stack([(images[labels == c] @ text[c]).mean() for c in range(classes)]).mean()
    text_weight = torch.full((classes,), 250 * similarity.item(), dtype=images.dtype, requires_grad=True)
    rate = 4 * count / torch.linalg.eigvalsh(images.T @ images).max().item()
    text_rate = count / (4 * max(((images @ text[c]) ** 2).sum().item() for c in range(classes)))
    optimizer = torch.optim.SGD([weight, bias], lr=rate, momentum=0.9)
    for step in range(steps):
        if not accumulated:
            text_weight.grad = None
        logits = images @ weight.T + bias + text_weight * (images @ text.T)
        optimizer.zero_grad()
        F.cross_entropy(logits, labels).backward()
        optimizer.step()
        if (step + 1) % 10 == 0:
            text_weight.data -= text_rate * text_weight.grad
    return weight.detach(), bias.detach(), text_weight.detach()


def tip_logits(image, keys, key_labels, text, scale, alpha, beta):
    """The logits of one unit image under Tip-Adapter."""
    logits = [scale * float(image @ text[c]) for c in range(len(text))]
    for key, label in zip(keys, key_labels, strict=True):
        logits[int(label)] += alpha * math.exp(-beta * (1 - float(image @ key)))
    return torch.tensor(logits)
