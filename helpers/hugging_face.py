"""A model in the folder that the library `transformers` and the tools around it read.

    export_hugging_face("data/for_others", model)
    # elsewhere: transformers.AutoModelForCausalLM.from_pretrained("data/for_others")

Two files: model.safetensors, the weights by GPT-2's names, and config.json. Introduced by notebook 12 (sections 63 to
65 of the lecture). Only a model that is built as GPT-2 is can be written so. A vocabulary of characters has no place in
it: keep that with helpers.checkpoints.save.
"""

import json
from pathlib import Path

from helpers.checkpoints import write_atomically
from helpers.gpt import GPTConfig, GPTLanguageModel
from helpers.gpt2 import save_gpt2


def hugging_face_config(config: GPTConfig) -> dict:
    """What config.json has to say of a GPT in GPT-2's form."""
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "vocab_size": config.vocab_size,
        "n_positions": config.block_size,
        "n_layer": config.n_layer,
        "n_head": config.n_head,
        "n_embd": config.n_embd,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-5,
        "tie_word_embeddings": True,
        "resid_pdrop": config.dropout,
        "embd_pdrop": config.dropout,
        "attn_pdrop": config.dropout,
        "bos_token_id": None,
        "eos_token_id": None,
    }


def export_hugging_face(folder: str | Path, model: GPTLanguageModel) -> Path:
    """Write model.safetensors and config.json to a folder, which is made if need be; returns the folder.

    Raises what `helpers.gpt2.save_gpt2` raises: ValueError for a model that is not built as GPT-2 is, TypeError for
    another class, OSError. Each file appears under its name only when it is whole.
    """
    folder = Path(folder)
    save_gpt2(folder / "model.safetensors", model)
    text = json.dumps(hugging_face_config(model.config), indent=2) + "\n"
    write_atomically(folder / "config.json", lambda to: to.write_text(text, encoding="utf-8", newline="\n"))
    return folder
