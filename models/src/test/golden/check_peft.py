"""Loads adapters that PeftRoundTripTest.main wrote into PEFT itself, and records what it makes of them.

    python check_peft.py models/src/test/resources/peft

Needs torch, peft and safetensors. For each folder: peft.safetensors (the adapted output y and the output
after merging), and what PEFT writes when it saves the adapter again (peft_model.safetensors, peft_config.json).
"""
import pathlib
import shutil
import sys
import tempfile

import peft
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file


class Base(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = torch.nn.Embedding(10, 12)
        self.lin1 = torch.nn.Linear(12, 20)
        self.lin2 = torch.nn.Linear(20, 36, bias=False)
        self.conv1 = torch.nn.Conv2d(4, 8, 3, padding=1)
        self.conv2 = torch.nn.Conv2d(8, 6, 1)

    def forward(self, x, ids):
        h = self.lin2(F.silu(self.lin1(x + self.emb(ids))))
        return self.conv2(F.silu(self.conv1(h.reshape(-1, 4, 3, 3))))


root = pathlib.Path(sys.argv[1])
base = load_file(root / "base.safetensors")
inputs = load_file(root / "inputs.safetensors")
print("peft", peft.__version__, "torch", torch.__version__)
for folder in sorted(p for p in root.iterdir() if p.is_dir()):
    model = Base()
    model.load_state_dict(base)
    adapted = peft.PeftModel.from_pretrained(model, folder).eval()
    with torch.no_grad(), tempfile.TemporaryDirectory() as temporary:
        adapted.save_pretrained(temporary)  # first, since constrained OFT writes into its weights when it runs
        written = load_file(pathlib.Path(temporary) / "adapter_model.safetensors")
        ours = load_file(folder / "adapter_model.safetensors")
        assert written.keys() == ours.keys(), (folder, written.keys() ^ ours.keys())
        assert all(torch.equal(written[k], ours[k]) for k in ours), folder
        shutil.copy(pathlib.Path(temporary) / "adapter_model.safetensors", folder / "peft_model.safetensors")
        shutil.copy(pathlib.Path(temporary) / "adapter_config.json", folder / "peft_config.json")
        y = adapted(inputs["x"], inputs["ids"])
        merged = adapted.merge_and_unload()(inputs["x"], inputs["ids"])
    save_file({"y": y.contiguous(), "merged": merged.contiguous()}, folder / "peft.safetensors")
    print(f"{folder.name:16} merged - adapted {float((merged - y).abs().max()):.2e}")
