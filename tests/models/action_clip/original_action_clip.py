"""The original ActionCLIP and the port in mmaction2 as modules of torch, whose state dicts have the published names.

They follow the released code: `clip/model.py`, `modules/Visual_Prompt.py`, `modules/temporal_shift.py`, `test.py` and
`utils/saving.py`; `projects/actionclip` of mmaction2. Nothing of `hf_prompt_models` is used. Sequences have the shape
(tokens, batch, width), as in the released code.
"""

import json
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tests import stand_ins


WIDTH, LAYERS, PATCH, IMAGE, DIM, POSITIONS = 128, 2, 32, 64, 24, 77
"""Of both towers, whose heads are `WIDTH // 64`."""
VOCABULARY = len(stand_ins.clip_vocabulary())


class QuickGelu(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.sigmoid(1.702 * x)


class Block(nn.Module):
    def __init__(self, width: int, heads: int, eps: float, causal: bool = False):
        super().__init__()
        self.causal = causal
        self.attn = nn.MultiheadAttention(width, heads)
        self.ln_1 = nn.LayerNorm(width, eps=eps)
        fc, projection = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.mlp = nn.Sequential(OrderedDict(c_fc=fc, gelu=QuickGelu(), c_proj=projection))
        self.ln_2 = nn.LayerNorm(width, eps=eps)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        later = torch.ones(len(x), len(x), dtype=torch.bool).triu(1) if self.causal else None
        normed = self.ln_1(x)
        x = x + self.attn(normed, normed, normed, need_weights=False, attn_mask=later)[0]
        return x + self.mlp(self.ln_2(x))


class ShiftedBlock(nn.Module):
    """The patches' first eighth of channels from the next frame, the second from the frame before."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net
        self.num_frames = 0  # set before each use

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens, _, width = x.shape
        videos = x.view(tokens, -1, self.num_frames, width)
        shifted, eighth = videos.clone(), width // 8
        shifted[1:, :, :, : 2 * eighth] = 0
        shifted[1:, :, :-1, :eighth] = videos[1:, :, 1:, :eighth]
        shifted[1:, :, 1:, eighth : 2 * eighth] = videos[1:, :, :-1, eighth : 2 * eighth]
        return self.net(shifted.view_as(x))


class Blocks(nn.Module):
    def __init__(self, width: int, layers: int, heads: int, eps: float, causal: bool = False, shift: bool = False):
        super().__init__()
        blocks: list[nn.Module] = [Block(width, heads, eps, causal) for _ in range(layers)]
        self.resblocks = nn.Sequential(*(ShiftedBlock(block) if shift else block for block in blocks))


class Visual(nn.Module):
    def __init__(self, shift: bool, joint_frames: int | None):
        super().__init__()
        self.conv1 = nn.Conv2d(3, WIDTH, PATCH, PATCH, bias=False)
        self.class_embedding = nn.Parameter(torch.empty(WIDTH))
        self.positional_embedding = nn.Parameter(torch.empty((IMAGE // PATCH) ** 2 + 1, WIDTH))
        if joint_frames:
            self.time_embedding = nn.Parameter(torch.empty(joint_frames, WIDTH))
        self.joint = bool(joint_frames)
        self.ln_pre, self.ln_post = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.transformer = Blocks(WIDTH, LAYERS, WIDTH // 64, 1e-5, shift=shift)
        self.proj = nn.Parameter(torch.empty(WIDTH, DIM))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """(batch, frames, 3, height, width) to (batch, frames, dim); (batch, 1, dim) in the joint mode."""
        batch, frames = pixels.shape[:2]
        x = self.conv1(pixels.flatten(0, 1)).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_embedding.expand(len(x), 1, -1), x], dim=1) + self.positional_embedding
        if self.joint:
            patches = x[:, 1:].view(batch, frames, -1, WIDTH) + self.time_embedding[:, None]
            x = torch.cat([x[:batch, :1], patches.flatten(1, 2)], dim=1)
        for module in self.modules():
            if isinstance(module, ShiftedBlock):
                module.num_frames = frames
        x = self.transformer.resblocks(self.ln_pre(x).transpose(0, 1))
        return (self.ln_post(x[0]) @ self.proj).view(batch, -1, DIM)


class OriginalClip(nn.Module):
    def __init__(self, vocabulary: int, shift: bool = False, joint_frames: int | None = None):
        super().__init__()
        self.visual = Visual(shift, joint_frames)
        self.transformer = Blocks(WIDTH, LAYERS, WIDTH // 64, 1e-5, causal=True)
        self.token_embedding = nn.Embedding(vocabulary, WIDTH)
        self.positional_embedding = nn.Parameter(torch.empty(POSITIONS, WIDTH))
        self.ln_final = nn.LayerNorm(WIDTH)
        self.text_projection = nn.Parameter(torch.empty(WIDTH, DIM))
        self.logit_scale = nn.Parameter(torch.empty(()))

    def encode_text(self, ids: torch.Tensor) -> torch.Tensor:
        """(texts, 77) to (texts, dim)."""
        x = self.token_embedding(ids) + self.positional_embedding
        x = self.ln_final(self.transformer.resblocks(x.transpose(0, 1)).transpose(0, 1))
        return x[torch.arange(len(ids)), ids.argmax(-1)] @ self.text_projection


class TransfCls(nn.Module):
    def __init__(self, frames: int, layers: int):
        super().__init__()
        layer = nn.TransformerEncoderLayer(DIM, nhead=8)
        self.transformer_enc = nn.TransformerEncoder(layer, layers, norm=nn.LayerNorm(DIM), enable_nested_tensor=False)
        self.cls_token = nn.Parameter(torch.empty(1, 1, DIM))
        self.pos_embed = nn.Parameter(torch.empty(1, frames + 1, DIM))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1) + self.pos_embed
        return self.transformer_enc(x.transpose(0, 1))[0]


class Head(nn.Module):
    """`visual_prompt`. With `eps=1e-5` and as many positions as frames it is mmaction2's adapter."""

    def __init__(self, kind: str, frames: int, layers: int = 2, positions: int = POSITIONS, eps: float = 1e-12):
        super().__init__()
        self.kind = kind
        if kind != "meanP":
            self.frame_position_embeddings = nn.Embedding(positions, DIM)
        match kind:
            case "Conv_1D":
                self.shift = nn.Conv1d(DIM, DIM, 3, padding=1, groups=DIM, bias=False)
            case "LSTM":
                self.lstm_visual = nn.LSTM(DIM, DIM, batch_first=True)
            case "Transf":
                self.transformer: nn.Module = Blocks(DIM, layers, WIDTH // 64, eps)
            case "Transf_cls":
                self.transformer = TransfCls(frames, layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, frames, dim) to (batch, dim)."""
        batch, frames, dim = x.shape
        match self.kind:
            case "Conv_1D":
                x = (
                    self.shift(x.contiguous().view(batch, dim, frames)).permute(0, 2, 1) + x
                )  # no permute on the way in
            case "LSTM":
                x = self.lstm_visual(x)[0] + x
            case "Transf":
                hidden = (x + self.frame_position_embeddings.weight[:frames]).transpose(0, 1)
                x = self.transformer.resblocks(hidden).transpose(0, 1) + x
            case "Transf_cls":
                return self.transformer(x)
        return x.mean(1)


class Original(nn.Module):
    def __init__(
        self,
        vocabulary: int,
        head: str = "Transf",
        frames: int = 3,
        shift: bool = False,
        joint: bool = False,
        **head_settings: Any,
    ):
        super().__init__()
        self.clip = OriginalClip(vocabulary, shift, frames if joint else None)
        self.head = Head(head, frames, **head_settings)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                noise = torch.randn(parameter.shape, generator=generator)
                if name.endswith("logit_scale"):
                    parameter.fill_(4.6)
                elif ".ln_" in name or ".norm" in name:
                    parameter.copy_((1.0 if name.endswith("weight") else 0.0) + 0.1 * noise)
                elif parameter.dim() > 1 and "embed" not in name:
                    parameter.copy_(noise * parameter[0].numel() ** -0.5)
                else:
                    parameter.copy_(0.3 * noise)
                if _is_half(name):
                    parameter.copy_(parameter.half())
        self.double().eval()

    @torch.no_grad()
    def logits(self, pixels: torch.Tensor, ids: torch.Tensor, classes: int) -> torch.Tensor:
        """The logarithm of the templates' mean probabilities, (batch, classes); `ids` are template after template."""
        videos, texts = self.head(self.clip.visual(pixels)), self.clip.encode_text(ids)
        videos, texts = (x / x.norm(dim=-1, keepdim=True) for x in (videos, texts))
        return (100.0 * videos @ texts.T).view(len(pixels), -1, classes).softmax(-1).mean(1).log()

    def clip_state(self, prefix: str = "", half: bool = True) -> dict[str, torch.Tensor]:
        state = {name: tensor.float() for name, tensor in self.clip.state_dict().items()}
        return OrderedDict(
            (prefix + name, tensor.half() if half and _is_half(f"clip.{name}") else tensor)
            for name, tensor in state.items()
        )

    def head_state(self, prefix: str = "module.") -> dict[str, torch.Tensor]:
        return OrderedDict((prefix + name, tensor.float()) for name, tensor in self.head.state_dict().items())


def _is_half(name: str) -> bool:
    """What the original keeps in fp16: the weights and biases of CLIP's linear maps."""
    parts = ("conv1.", ".attn.", ".mlp.", ".proj", "text_projection")
    return name.startswith("clip.") and any(part in name for part in parts)


def write_backbone(folder: Path, **changes: Any) -> Path:
    """Write a CLIP of OpenAI without weights, with the sizes of the original code."""
    stand_ins.openai_clip_vit_base_patch32(folder)
    (folder / "model.safetensors").unlink()
    config = json.loads((folder / "config.json").read_text())
    tower = {
        "hidden_size": WIDTH,
        "intermediate_size": 4 * WIDTH,
        "num_attention_heads": WIDTH // 64,
        "num_hidden_layers": LAYERS,
    }
    for part in ("text_config", "vision_config"):
        config[part] |= {**tower, **changes}
    config["vision_config"] |= {"image_size": IMAGE, "patch_size": PATCH}
    (folder / "config.json").write_text(json.dumps(config))
    preprocessor = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor | {"crop_size": IMAGE, "size": IMAGE}))
    return folder


def write_original(path: Path, original: Original, **changes: Any) -> Path:
    """A file as the training of the original writes it; `None` among the changes leaves an entry out."""
    parameter = nn.Parameter(torch.zeros(3))
    optimizer = torch.optim.AdamW([{"params": [parameter], "lr": 5e-6}], betas=(0.9, 0.98), weight_decay=0.2)
    parameter.grad = torch.ones(3)
    optimizer.step()
    content = {
        "epoch": 49,
        "model_state_dict": original.clip_state(),
        "fusion_model_state_dict": original.head_state(),
        "optimizer_state_dict": optimizer.state_dict(),
        **changes,
    }
    torch.save({name: value for name, value in content.items() if value is not None}, path)
    return path


def write_mmaction2(path: Path, original: Original, **others: Any) -> Path:
    """A file as mmengine writes it."""
    state = {**original.clip_state("clip.", half=False), **original.head_state("adapter.")}
    meta = {"epoch": 50, "cfg": "model = dict(type='ActionClip')\n" * 20, "dataset_meta": {}, "seed": 7}
    torch.save({"meta": meta, "state_dict": OrderedDict(state), **others}, path)
    return path
