"""Loads virtual tokens that PromptRoundTripTest.main wrote into PEFT itself, and records what it makes of them.

    python check_prompts.py models/src/test/resources/peft_prompts

Needs torch, peft, transformers and safetensors. For each folder: peft.safetensors (the output y), and what PEFT writes
when it saves it again (peft_model.safetensors, peft_config.json). by_peft is written by PEFT alone.

The prior of codes is a GPT-2 here. PEFT's prefix takes the first n positions, so the table of positions is moved by n.
CLIP's text model takes no embeddings in transformers, so its forward is written out.
"""
import pathlib
import shutil
import sys
import tempfile

import peft
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import CLIPTextModel, GPT2Config, GPT2LMHeadModel
from transformers.modeling_outputs import BaseModelOutput

root = pathlib.Path(sys.argv[1])
inputs = load_file(root / "inputs.safetensors")
print("peft", peft.__version__, "transformers", transformers.__version__)


def prior(virtual):
    ours = load_file(root / "prior.safetensors")
    layers = 1 + max(int(k.split(".")[1]) for k in ours if k.startswith("h."))
    length, width = ours["wpe.weight"].shape
    config = GPT2Config(
        vocab_size=ours["wte.weight"].shape[0], n_positions=length + virtual, n_embd=width, n_layer=layers, n_head=3,
        activation_function="gelu_new", resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, tie_word_embeddings=False,
    )
    model = GPT2LMHeadModel(config)
    state = {}
    for key, value in ours.items():
        if key == "wce.weight":
            continue
        if key == "wpe.weight":
            value = torch.cat([torch.zeros(virtual, width), value])
        conv1d = key.endswith(".weight") and any(part in key for part in (".attn.c_", ".mlp.c_"))
        name = key if key.startswith("lm_head") else "transformer." + key
        state[name] = value.T.contiguous() if conv1d else value
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected and all("bias" in m and "attn" in m for m in missing), (missing, unexpected)
    label = ours["wce.weight"][inputs["labels"]][:, None]  # [B, 1, n]
    codes = ours["wte.weight"][inputs["codes"][:, :-1]]
    return model.eval(), {"inputs_embeds": torch.cat([label, codes + label], 1)}


class Clip(CLIPTextModel):
    def forward(self, input_ids=None, inputs_embeds=None, **ignored):
        x = self.embeddings(input_ids=input_ids, inputs_embeds=inputs_embeds)
        seen = torch.full((x.shape[1], x.shape[1]), float("-inf")).triu(1)[None, None]
        for layer in self.encoder.layers:
            x = layer(x, seen)
            x = x[0] if isinstance(x, tuple) else x
        return BaseModelOutput(last_hidden_state=self.final_layer_norm(x))


def clip():
    plain = CLIPTextModel.from_pretrained(root / "clip", attn_implementation="eager").eval()
    model = Clip(plain.config).eval()
    model.load_state_dict(plain.state_dict())
    with torch.no_grad():  # the forward that is written out is transformers'
        difference = model(inputs["ids"]).last_hidden_state - plain(inputs["ids"]).last_hidden_state
    assert float(difference.abs().max()) < 1e-5, difference
    return model, {"input_ids": inputs["ids"]}


def output(model, arguments):
    with torch.no_grad():
        out = model(**arguments)
    return (out.logits if "logits" in out else out.last_hidden_state).contiguous()


made = root / "by_peft"
shutil.rmtree(made, ignore_errors=True)
torch.manual_seed(1)
model, arguments = prior(3)
config = peft.PrefixTuningConfig(
    task_type="CAUSAL_LM", num_virtual_tokens=3, prefix_projection=True, encoder_hidden_size=10
)
model = peft.get_peft_model(model, config).eval()
y = output(model, arguments)
model.save_pretrained(made)
(made / "README.md").unlink(missing_ok=True)
save_file({"y": y}, made / "peft.safetensors")

for folder in sorted(p for p in root.iterdir() if (p / "adapter_config.json").exists() and p != made):
    config = peft.PeftConfig.from_pretrained(folder)
    base, arguments = clip() if config.task_type == "FEATURE_EXTRACTION" else prior(config.num_virtual_tokens)
    without = output(base, arguments)
    adapted = peft.PeftModel.from_pretrained(base, folder).eval()
    y = output(adapted, arguments)
    with tempfile.TemporaryDirectory() as temporary:
        adapted.save_pretrained(temporary)
        written = load_file(pathlib.Path(temporary) / "adapter_model.safetensors")
        ours = load_file(folder / "adapter_model.safetensors")
        assert written.keys() == ours.keys(), (folder, written.keys() ^ ours.keys())
        assert all(torch.equal(written[k], ours[k]) for k in ours), folder
        shutil.copy(pathlib.Path(temporary) / "adapter_model.safetensors", folder / "peft_model.safetensors")
        shutil.copy(pathlib.Path(temporary) / "adapter_config.json", folder / "peft_config.json")
    save_file({"y": y}, folder / "peft.safetensors")
    change = float((y[:, -without.shape[1] :] - without).abs().max())
    print(f"{folder.name:16} {tuple(y.shape)} changes the output by {change:.3f}")
