"""Large language models whose makers say how many parameters they have and how many tokens they were trained on.

    for model in SURVEY:
        print(model.year, model.name, f"{model.compute:.1e}", model.url)
    show_html(as_html(), as_text())                     # the table of notebook 11

Each entry was looked up in the paper's abstract, its text or the makers' model card; what could not be confirmed, or is
reported in two ways, is not here. GPT-2 and GPT-4 are missing because no arXiv paper gives their numbers. Notebook 11,
section 56 of the lecture, draws them. Standard library only.
"""

import html
from dataclasses import dataclass


@dataclass(frozen=True)
class LanguageModel:
    """One model. parameters: those that work on each token; tokens: seen in training, repetitions included."""

    name: str
    year: int  # of the paper's first version
    parameters: float
    tokens: float
    title: str  # of the paper, as on arXiv
    arxiv: str
    remark: str = ""

    @property
    def compute(self) -> float:
        """Floating-point operations of the training by the rule 6 * parameters * tokens."""
        return 6 * self.parameters * self.tokens

    @property
    def url(self) -> str:
        """The paper's page."""
        return f"https://arxiv.org/abs/{self.arxiv}"


B, T = 1e9, 1e12
_CEREBRAS = "Cerebras-GPT: Open Compute-Optimal Language Models Trained on the Cerebras Wafer-Scale Cluster"
_PYTHIA = "Pythia: A Suite for Analyzing Large Language Models Across Training and Scaling"
_LLAMA = "LLaMA: Open and Efficient Foundation Language Models"
_MT_NLG = (
    "Using DeepSpeed and Megatron to Train Megatron-Turing NLG 530B, A Large-Scale Generative Language Model"
)
_SMOL = "SmolLM2: When Smol Goes Big -- Data-Centric Training of a Small Language Model"

SURVEY = [
    LanguageModel("GPT-3", 2020, 175 * B, 300 * B, "Language Models are Few-Shot Learners", "2005.14165"),
    LanguageModel("Gopher", 2021, 280 * B, 300 * B,
                  "Scaling Language Models: Methods, Analysis & Insights from Training Gopher", "2112.11446"),
    LanguageModel("MT-NLG", 2022, 530 * B, 270 * B, _MT_NLG, "2201.11990"),
    LanguageModel("Chinchilla", 2022, 70 * B, 1.4 * T, "Training Compute-Optimal Large Language Models", "2203.15556"),
    LanguageModel("PaLM", 2022, 540 * B, 780 * B, "PaLM: Scaling Language Modeling with Pathways", "2204.02311"),
    LanguageModel("BLOOM", 2022, 176 * B, 366 * B,
                  "BLOOM: A 176B-Parameter Open-Access Multilingual Language Model", "2211.05100"),
    LanguageModel("LLaMA 7B", 2023, 6.7 * B, 1.0 * T, _LLAMA, "2302.13971"),
    LanguageModel("LLaMA 65B", 2023, 65.2 * B, 1.4 * T, _LLAMA, "2302.13971"),
    LanguageModel("Pythia 70M", 2023, 70e6, 300 * B, _PYTHIA, "2304.01373", "19 M of them outside the embeddings"),
    LanguageModel("Pythia 12B", 2023, 12 * B, 300 * B, _PYTHIA, "2304.01373"),
    LanguageModel("Cerebras-GPT 111M", 2023, 111e6, 20 * 111e6, _CEREBRAS, "2304.03208", "20 tokens per parameter, on purpose"),
    LanguageModel("Cerebras-GPT 13B", 2023, 13 * B, 20 * 13 * B, _CEREBRAS, "2304.03208", "20 tokens per parameter, on purpose"),
    LanguageModel("Llama 2 70B", 2023, 70 * B, 2.0 * T, "Llama 2: Open Foundation and Fine-Tuned Chat Models", "2307.09288"),
    LanguageModel("Falcon-180B", 2023, 180 * B, 3.5 * T, "The Falcon Series of Open Language Models", "2311.16867"),
    LanguageModel("TinyLlama", 2024, 1.1 * B, 3.0 * T,
                  "TinyLlama: An Open-Source Small Language Model", "2401.02385", "about three passes over its text"),
    LanguageModel("OLMo 7B", 2024, 7 * B, 2.46 * T, "OLMo: Accelerating the Science of Language Models", "2402.00838"),
    LanguageModel("Llama 3 405B", 2024, 405 * B, 15.6 * T, "The Llama 3 Herd of Models", "2407.21783"),
    LanguageModel("Qwen2.5-72B", 2024, 72 * B, 18 * T, "Qwen2.5 Technical Report", "2412.15115"),
    LanguageModel("DeepSeek-V3", 2024, 37 * B, 14.8 * T, "DeepSeek-V3 Technical Report", "2412.19437",
                  "671 B in all, of which 37 B work on each token"),
    LanguageModel("SmolLM2 135M", 2025, 135e6, 2 * T, _SMOL, "2502.02737"),
    LanguageModel("SmolLM2 1.7B", 2025, 1.7 * B, 11 * T, _SMOL, "2502.02737"),
    LanguageModel("Qwen3-235B-A22B", 2025, 22 * B, 36 * T, "Qwen3 Technical Report", "2505.09388",
                  "235 B in all, of which 22 B work on each token"),
]  # fmt: skip


def short(number: float) -> str:
    """A large number in three digits at most: 175 B (billion), 1.4 T (trillion), 921.6 k becomes 922 k."""
    for size, letter in ((T, "T"), (B, "B"), (1e6, "M"), (1e3, "k")):
        if number >= 0.9995 * size:
            return f"{number / size:.3g} {letter}"
    return f"{number:.3g}"


def rows(models: list[LanguageModel] = SURVEY) -> list[tuple[str, ...]]:
    """One row of words for each model: name, year, parameters, tokens, tokens per parameter, operations, arXiv, title."""
    return [
        (
            m.name, str(m.year), short(m.parameters), short(m.tokens), f"{m.tokens / m.parameters:,.1f}",
            f"{m.compute:.0e}", m.arxiv, m.title + (f" ({m.remark})" if m.remark else ""),
        )
        for m in models
    ]  # fmt: skip


HEAD = ("model", "year", "parameters", "tokens", "tokens per parameter", "operations", "arXiv", "title")


def as_text(models: list[LanguageModel] = SURVEY) -> str:
    """The table as plain text, without the titles."""
    table = [HEAD[:-1], *(row[:-1] for row in rows(models))]
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in table
    )


def as_html(models: list[LanguageModel] = SURVEY, summary: str = "The models, with their papers") -> str:
    """The table as HTML that folds out; each arXiv identifier leads to the paper."""
    cell = '<td style="text-align: left;">{}</td>'
    lines = ["<tr>" + "".join(f'<th style="text-align: left;">{name}</th>' for name in HEAD) + "</tr>"]
    for model, row in zip(models, rows(models), strict=True):
        words = [html.escape(each) for each in row]
        words[6] = f'<a href="{model.url}">{model.arxiv}</a>'
        lines.append("<tr>" + "".join(map(cell.format, words)) + "</tr>")
    return f"<details><summary>{html.escape(summary)}</summary><table>{''.join(lines)}</table></details>"
