"""Records into which groups PEFT's LoRA+ helper sorts parameters.

    python make_loraplus.py models/src/test/resources/peft_loraplus.json

Needs torch, peft and transformers. For each adapter: the learning rate and weight decay of every parameter, by our name
of it, for lr 1e-3, ratio 16 and weight decay 0.01.
"""
import json
import pathlib
import sys

import peft
import torch
from peft.optimizers import create_loraplus_optimizer


class Base(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = torch.nn.Embedding(10, 12)
        self.lin1 = torch.nn.Linear(12, 20)
        self.lin2 = torch.nn.Linear(20, 36, bias=False)
        self.conv1 = torch.nn.Conv2d(4, 8, 3, padding=1)
        self.conv2 = torch.nn.Conv2d(8, 6, 1)


cases = {
    "lora": peft.LoraConfig(r=2, target_modules=["emb", "lin1", "conv1"], modules_to_save=["conv2"]),
    "dora": peft.LoraConfig(r=2, target_modules=["lin1", "lin2"], use_dora=True),
    "bias": peft.LoraConfig(r=2, target_modules=["lin1"], lora_bias=True),
    "loha": peft.LoHaConfig(r=2, target_modules=["lin1"]),
}
print("peft", peft.__version__)
result = {}
for name, config in cases.items():
    model = peft.get_peft_model(Base(), config)
    optimizer = create_loraplus_optimizer(
        model, torch.optim.AdamW, lr=1e-3, loraplus_lr_ratio=16, loraplus_weight_decay=0.01
    )
    names = {id(p): n for n, p in model.named_parameters()}
    groups = {}
    for group in optimizer.param_groups:
        for p in group["params"]:
            ours = names[id(p)].removeprefix("base_model.model.").replace(".modules_to_save.default", "")
            ours = ours.replace(".default", "").replace("lora_magnitude_vector.weight", "lora_magnitude_vector")
            groups[ours] = [group["lr"], group["weight_decay"]]
    result[name] = dict(sorted(groups.items()))
pathlib.Path(sys.argv[1]).write_text(json.dumps(result, indent=1) + "\n")
