# SPDX-License-Identifier: Apache-2.0
"""Golden files of CLIP's tokenizer and text encoder: python make_text.py. Needs torch, tokenizers and transformers.

tokenizer/            a vocabulary of 700 tokens, learned from captions of the shapes world and some other text, with
                      tokens.json: texts and what transformers' CLIPTokenizer makes of them, and with_words.json: the same
                      with added words, one of three tokens that a prompt names by the first, as in diffusers.
../golden/models/     clip_text_legacy and clip_text_gelu: two text encoders of other configurations than the one in
                      clip_text, with random weights, inputs, outputs and gradients in the layout of the golden files.
"""

import json
import os

import torch
from safetensors.torch import save_file
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

HERE = os.path.dirname(os.path.abspath(__file__))
BOS, EOS = "<|startoftext|>", "<|endoftext|>"

words = "small medium large red orange yellow green cyan blue purple pink circle square triangle star heart ring cross"
corpus = [
    f"a {a} {b} at the top left of a white background in the center" for a in words.split() for b in words.split()
] + [
    "The quick brown fox jumps over the lazy dog's back, isn't that what we'd expect? They've 1234567890 reasons!",
    "Ein schönes Bild von Vögeln über dem Fluß. Une très belle photographie de la tour Eiffel à Paris.",
    "быстрая коричневая лиса", "素敵な写真 一枚の絵", "trending on artstation, highly detailed, 8k, octane render",
] * 8


def vocabulary(folder):
    os.makedirs(folder, exist_ok=True)
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>", unk_token=EOS))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(
                Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"), behavior="removed", invert=True
            ),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    # First all single characters, then the learned ones, then start and end, as in CLIP's own vocabulary.
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=700, end_of_word_suffix="</w>", initial_alphabet=alphabet)
    tokenizer.train_from_iterator(corpus, trainer)
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    merges = [m if isinstance(m, list) else m.split(" ") for m in merges]
    tokens = alphabet + [a + "</w>" for a in alphabet]
    for left, right in merges:
        if left + right not in tokens:
            tokens.append(left + right)
    tokens += [BOS, EOS]
    with open(os.path.join(folder, "vocab.json"), "w", encoding="utf-8") as f:
        json.dump({t: i for i, t in enumerate(tokens)}, f, ensure_ascii=False)
    with open(os.path.join(folder, "merges.txt"), "w", encoding="utf-8") as f:
        f.write("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
    with open(os.path.join(folder, "tokenizer_config.json"), "w", encoding="utf-8") as f:
        config = {
            "bos_token": {"__type": "AddedToken", "content": BOS, "lstrip": False, "normalized": True},
            "eos_token": {"__type": "AddedToken", "content": EOS, "lstrip": False, "normalized": True},
            "model_max_length": 77, "pad_token": "!", "tokenizer_class": "CLIPTokenizer", "unk_token": EOS,
        }
        json.dump(config, f, indent=2)
    return {t: i for i, t in enumerate(tokens)}, [tuple(m) for m in merges]


TEXTS = [
    "", " ", "a small red star at the top left on a blue background", "A Photo OF\n\tan  ASTRONAUT\u00a0riding\u2003a horse",
    "isn't it? they'VE we'll I'd you're he's 'tis don''t", "12345 3.14159 ½ ² ٣ ⅷ", "!!! ... --- ???!", "naïve café naïve cafe\u0301",
    "Größe ÜBER STRASSE ẞ", "ΟΔΟΣ ΣΊΣΥΦΟΣ İstanbul DŽ ﬁne", "быстрая лиса", "素敵な写真、一枚の絵", "a 🐱‍👤 cat 👍🏽 and 𝔘𝔫𝔦𝔠𝔬𝔡𝔢",
    "<|startoftext|> inside <|endoftext|>and after", "x<|endoftext|>", "snake_case-and/slashes\\ \"quotes\" (a:1.2) [b] {c}",
    "\u200bzero\u200dwidth\ufeff", "tab\tnew\r\nline\x0bvertical\x0cfeed\x1funit\x85next", "\u0000nul\u0007bell", " ".join(["word"] * 30),
    " ".join(["supercalifragilistic"] * 20), "a" * 300, "ÀÉÎÕÜ", "e\u0301\u0323 o\u0302\u0301", "'S 'T 'LL", "100% $5 #1 @home a&b",
]


def tokens(folder):
    vocab, merges = vocabulary(folder)
    tokenizer = CLIPTokenizer(vocab=vocab, merges=merges, pad_token="!", model_max_length=77)
    cases = []
    for text in TEXTS:
        ids = tokenizer(text, padding="max_length", truncation=True, max_length=77)["input_ids"]
        plain = tokenizer(text, add_special_tokens=False)["input_ids"]
        cases.append({"text": text, "ids": ids, "tokens": plain})
    with open(os.path.join(folder, "tokens.json"), "w", encoding="utf-8") as f:
        json.dump({"cases": cases}, f, ensure_ascii=True, indent=1)


WORDS = {"<my-toy>": 3, "NewStyle": 1}
WORD_TEXTS = [
    "a photo of <my-toy> on a table", "<MY-TOY>", "x<my-toy>y", "in NewStyle, newstyle and NewStyles", "a!<my-toy>!b",
    "<my-toy><my-toy> NewStyle", "a small red star", "<my -toy>", "<|endoftext|><my-toy><|startoftext|>", " ".join(["<my-toy>"] * 30),
]


def with_words(folder):
    with open(os.path.join(folder, "vocab.json"), encoding="utf-8") as f:
        vocab = json.load(f)
    with open(os.path.join(folder, "merges.txt"), encoding="utf-8") as f:
        merges = [tuple(line.split(" ")) for line in f.read().splitlines()[1:]]
    tokenizer = CLIPTokenizer(vocab=vocab, merges=merges, pad_token="!", model_max_length=77)
    names = {word: [word] + [f"{word}_{i}" for i in range(1, n)] for word, n in WORDS.items()}
    for tokens in names.values():
        tokenizer.add_tokens(tokens)
    cases = []
    for text in WORD_TEXTS:
        prompt = text  # with several tokens as diffusers writes them
        for word, tokens in names.items():
            if len(tokens) > 1:
                prompt = prompt.replace(word, " ".join(tokens)).replace(word.upper(), " ".join(tokens))
        ids = tokenizer(prompt, padding="max_length", truncation=True, max_length=77)["input_ids"]
        plain = tokenizer(prompt, add_special_tokens=False)["input_ids"]
        cases.append({"text": text, "ids": ids, "tokens": plain})
    with open(os.path.join(folder, "with_words.json"), "w", encoding="utf-8") as f:
        json.dump({"words": WORDS, "cases": cases}, f, ensure_ascii=True, indent=1)


def encoder(name, kind, seed, ids, **settings):
    torch.manual_seed(seed)
    config = CLIPTextConfig(
        vocab_size=60, hidden_size=24, intermediate_size=40, num_attention_heads=3, max_position_embeddings=12, **settings
    )
    model = kind(config).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn_like(p) * 0.3)
    folder = os.path.join(HERE, "..", "golden", "models", name)
    model.save_pretrained(folder)
    out = model(ids, output_hidden_states=True)
    io = {"in.ids": ids, "out.last_hidden_state": out.last_hidden_state, "out.hidden_minus_2": out.hidden_states[-2]}
    if kind is CLIPTextModelWithProjection:
        first, key = out.text_embeds, "text_embeds"
    else:
        first, key = out.pooler_output, "pooler_output"
    io["out." + key] = first
    g = torch.randn_like(first)
    io["g." + key] = g
    (first * g).sum().backward()
    for n, p in model.named_parameters():
        io["grad." + n] = p.grad if p.grad is not None else torch.zeros_like(p)
    save_file({k: v.detach().contiguous() for k, v in io.items()}, os.path.join(folder, "io.safetensors"))


tokens(os.path.join(HERE, "tokenizer"))
with_words(os.path.join(HERE, "tokenizer"))
# Old files say eos_token_id 2: pooled at the largest token, not at a 2.
legacy = torch.tensor([[57, 2, 5, 59, 2, 0, 0, 0], [57, 9, 59, 0, 2, 0, 58, 0]])
encoder("clip_text_legacy", CLIPTextModel, 1, legacy, num_hidden_layers=1, hidden_act="quick_gelu",
        eos_token_id=2, bos_token_id=0, pad_token_id=1)
# Padded by end tokens: pooled at the first of them; a text without one is pooled at its first token.
gelu = torch.tensor([[57, 5, 58, 58, 58, 58], [57, 9, 59, 8, 7, 58], [57, 9, 59, 8, 7, 6]])
encoder("clip_text_gelu", CLIPTextModelWithProjection, 2, gelu, num_hidden_layers=3, hidden_act="gelu",
        eos_token_id=58, bos_token_id=57, pad_token_id=58, projection_dim=16, layer_norm_eps=1e-3)
