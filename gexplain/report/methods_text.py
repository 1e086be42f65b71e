"""The methods paragraph of a report: how a run was made, in sentences for a paper, and whom to cite for it.

Everything is told from the manifest; what it does not say is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gexplain.errors import count


@dataclass(frozen=True, slots=True)
class Reference:
    """A work to cite: as the text calls it, in full, and where it is."""

    cited: str
    full: str
    address: str


def is_cnn(manifest: Mapping[str, Any]) -> bool:
    """Whether the model of a run reads bases: such a run has no tokenizer among its settings."""
    return "tokenizer" not in manifest["settings"]


def is_of_tokens(manifest: Mapping[str, Any]) -> bool:
    """Whether a value of a run is of a token, and laid on its bases: no base has one of its own."""
    return not is_cnn(manifest) and manifest["settings"]["method"] not in _OF_BASES


def model_name(source: str) -> str:
    """A model's name: the last part of a path, a hub id or a bundled name as it is."""
    return Path(source).name or source if source.startswith((".", "/", "~")) or source.count("/") > 1 else source


def methods_paragraph(manifest: Mapping[str, Any]) -> str:
    """One paragraph of plain text: model, method, windows, null, motifs, versions."""
    return " ".join(_sentences(manifest))


def references(manifest: Mapping[str, Any]) -> list[Reference]:
    """The works that the paragraph names, in the order in which it does."""
    paragraph = methods_paragraph(manifest)
    found = [(paragraph.find(one.cited), one) for one in _REFERENCES]
    return [one for place, one in sorted(found, key=lambda pair: pair[0]) if place >= 0]


def _sentences(manifest: Mapping[str, Any]) -> list[str]:
    settings, model = manifest["settings"], manifest["model"]
    genome, regions = manifest["genome"], manifest["regions"]
    head = {"multi_label": "independent classes", "regression": "outputs"}.get(model["head"], "classes")
    kind = (
        "a convolutional network that reads single bases"
        if is_cnn(manifest)
        else "a transformer of the DNABERT-2 architecture, which reads byte-pair tokens of DNA (Zhou et al. 2023)"
    )
    n = len(model["classes"])
    targets = _listed(settings["target"]) if settings["target"] != ["predicted"] else "the predicted class"
    value = "logit" if settings["explained"] == "logit" else "logit less the mean of the other logits"
    explained = f"the {value} of {targets}"
    if model["head"] == "regression":
        explained = (
            f"the output {targets}" if settings["target"] != ["predicted"] else "the highest output of each window"
        )
    baseline = str(manifest["rules"].get("baseline", ""))
    strands = _STRANDS.get(settings["strand"], settings["strand"])
    shifts = f", each at {settings['shifts']} offsets one base apart" if settings["shifts"] > 1 else ""
    sentences = [
        f"Base-pair relevance was computed with gexplain {manifest['versions']['gexplain']} (PyTorch"
        f" {manifest['versions']['torch']}) for {count(regions['scored'], 'region')} of"
        f" {Path(str(genome['file'])).name} (sha256 {_short(genome['sha256'])}).",
        f"The model, {model_name(model['source'])} (sha256 {_short(model['sha256'])}), is {kind}; it has"
        f" {n:,} {head if n > 1 else 'output'}.",
        f"Regions were read in windows of {settings['window']:,} bases, stride {settings['stride']:,}{shifts},"
        f" {strands}; overlapping windows were averaged with a triangular weight.",
        _METHODS.get(settings["method"], "Relevance was computed by the method {method}, for {explained}.").format(
            method=settings["method"], explained=explained, baseline=baseline
        ),
    ]
    if is_of_tokens(manifest):
        sentences.append(_PROJECTIONS.get(settings["projection"], ""))
    if settings["weight"] == "probability":
        sentences.append("The relevance of a window was multiplied by the predicted probability of the target.")
    return [sentence for sentence in [*sentences, *_calls(manifest)] if sentence]


def _calls(manifest: Mapping[str, Any]) -> list[str]:
    """How seqlets and hits were told from chance."""
    calls, settings = manifest.get("calls"), manifest["settings"]
    if calls is None:
        return []
    null = calls["null"]
    sentences = [
        f"As a null, {count(null['regions'], 'piece')} of the regions ({null['bases']:,} bases) were shuffled with"
        f" their dinucleotide counts kept (Altschul and Erickson 1985; seed {null['seed']}) and explained by the same"
        " model in the same way.",
        f"Seqlets are spans of relevance beyond the null's 95 % quantile, with q ≤ {settings['q']:g} (Benjamini and"
        " Hochberg 1995).",
    ]
    if "motifs" in calls:
        source = str(calls["motifs"]["source"])
        name = source if source.startswith("JASPAR ") else Path(source).name
        from_where = f"{name} ({count(calls['motifs']['motifs'], 'motif')})"
        sentences.append(
            f"Matches of {from_where} were found with FIMO's scores at p ≤ {settings['match p']:g} (Grant et al."
            f" 2011); hits are matches that the model uses, with q ≤ {settings['q']:g} against the null."
        )
    return sentences


def _listed(names: list[str], most: int = 8) -> str:
    """Names as a sentence lists them."""
    shown = [name if len(name) <= 60 else name[:59] + "…" for name in names[:most]]
    if len(names) > most:
        return f"{', '.join(shown)} and {len(names) - most:,} more classes"
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def _short(sha256: str) -> str:
    return str(sha256)[:12]


_OF_BASES = ("occlusion-base", "ism")
"""Methods with a value for every base, whatever the model reads."""
_STRANDS = {
    "both": "on both strands, whose readings were averaged",
    "forward": "on the forward strand",
    "reverse": "on the reverse strand",
    "region": "on the strand of the region",
}
_PROJECTIONS = {
    "uniform": "The relevance of a token was shared equally by its bases.",
    "copy": "Each base was given the relevance of its token.",
}
_METHODS = {
    "attnlrp": "Relevance is that of AttnLRP (Achtibat et al. 2024), as brought to DNABERT-2 (Kurth et al. 2026) and"
    " computed as a modified gradient (Arras et al. 2025), for {explained}.",
    "cplrp": "Relevance is that of layer-wise relevance propagation with the attention weights as constants (Ali et"
    " al. 2022), the other rules being those of AttnLRP (Achtibat et al. 2024; Kurth et al. 2026), for"
    " {explained}.",
    "gradient-x-input": "Relevance is the gradient times the input (Shrikumar et al. 2016), for {explained}.",
    "saliency": "Relevance is the size of the gradient (Simonyan et al. 2014), for {explained}.",
    "integrated-gradients": "Relevance is that of integrated gradients (Sundararajan et al. 2017) at 16 points, from"
    " {baseline}, for {explained}.",
    "attention": "Values are the attention weights of the [CLS] token in the last layer, the mean over its heads;"
    " they do not depend on the class.",
    "attention-rollout": "Values are those of attention rollout (Abnar and Zuidema 2020); they do not depend on the"
    " class.",
    "occlusion-token": "Relevance is the fall when a token is masked (Zeiler and Fergus 2014), for {explained}.",
    "occlusion-base": "Relevance is the fall when a base is made unknown (Zeiler and Fergus 2014), for {explained}.",
    "ism": "Relevance is that of in-silico mutagenesis (Zhou and Troyanskaya 2015), the fall from a base to the mean"
    " of the three others, for {explained}.",
    "deeplift": "Relevance is that of DeepLIFT with the Rescale rule (Shrikumar et al. 2017) from a sequence of N,"
    " for {explained}.",
    "deeplift-shap": "Relevance is that of DeepLIFT (Shrikumar et al. 2017), its mean from 20 dinucleotide shuffles"
    " of each sequence (Lundberg and Lee 2017), for {explained}.",
    "lrp": "Relevance is that of layer-wise relevance propagation (Bach et al. 2015), epsilon in the dense layers and"
    " z+ in the convolution (Montavon et al. 2017), for {explained}.",
    "random": "Values are random noise, drawn from each sequence alone: a floor to compare with.",
}

_ARXIV, _DOI = "https://arxiv.org/abs/", "https://doi.org/"
_REFERENCES = (
    Reference(
        "Kurth et al. 2026",
        "Kurth, Yanez Sarmiento, Renard 2026. Evaluating post-hoc explanations of the transformer-based genome"
        " language model DNABERT-2. arXiv 2604.21690",
        f"{_ARXIV}2604.21690",
    ),
    Reference(
        "Achtibat et al. 2024",
        "Achtibat et al. 2024. AttnLRP: attention-aware layer-wise relevance propagation for transformers. ICML,"
        " arXiv 2402.05602",
        f"{_ARXIV}2402.05602",
    ),
    Reference(
        "Arras et al. 2025",
        "Arras et al. 2025. A close look at decomposition-based XAI-methods for transformer language models."
        " arXiv 2502.15886",
        f"{_ARXIV}2502.15886",
    ),
    Reference(
        "Zhou et al. 2023",
        "Zhou et al. 2023. DNABERT-2: efficient foundation model and benchmark for multi-species genome."
        " arXiv 2306.15006",
        f"{_ARXIV}2306.15006",
    ),
    Reference(
        "Ali et al. 2022",
        "Ali et al. 2022. XAI for transformers: better explanations through conservative propagation. ICML,"
        " arXiv 2202.07304",
        f"{_ARXIV}2202.07304",
    ),
    Reference(
        "Shrikumar et al. 2016",
        "Shrikumar, Greenside, Shcherbina, Kundaje 2016. Not just a black box: learning important features through"
        " propagating activation differences. arXiv 1605.01713",
        f"{_ARXIV}1605.01713",
    ),
    Reference(
        "Shrikumar et al. 2017",
        "Shrikumar, Greenside, Kundaje 2017. Learning important features through propagating activation differences."
        " ICML, arXiv 1704.02685",
        f"{_ARXIV}1704.02685",
    ),
    Reference(
        "Lundberg and Lee 2017",
        "Lundberg, Lee 2017. A unified approach to interpreting model predictions. NeurIPS, arXiv 1705.07874",
        f"{_ARXIV}1705.07874",
    ),
    Reference(
        "Sundararajan et al. 2017",
        "Sundararajan, Taly, Yan 2017. Axiomatic attribution for deep networks. ICML, arXiv 1703.01365",
        f"{_ARXIV}1703.01365",
    ),
    Reference(
        "Simonyan et al. 2014",
        "Simonyan, Vedaldi, Zisserman 2014. Deep inside convolutional networks. arXiv 1312.6034",
        f"{_ARXIV}1312.6034",
    ),
    Reference(
        "Abnar and Zuidema 2020",
        "Abnar, Zuidema 2020. Quantifying attention flow in transformers. ACL, arXiv 2005.00928",
        f"{_ARXIV}2005.00928",
    ),
    Reference(
        "Zeiler and Fergus 2014",
        "Zeiler, Fergus 2014. Visualizing and understanding convolutional networks. arXiv 1311.2901",
        f"{_ARXIV}1311.2901",
    ),
    Reference(
        "Zhou and Troyanskaya 2015",
        "Zhou, Troyanskaya 2015. Predicting effects of noncoding variants with deep learning-based sequence model."
        " Nature Methods 12, doi 10.1038/nmeth.3547",
        f"{_DOI}10.1038/nmeth.3547",
    ),
    Reference(
        "Bach et al. 2015",
        "Bach et al. 2015. On pixel-wise explanations for non-linear classifier decisions by layer-wise relevance"
        " propagation. PLoS ONE 10, doi 10.1371/journal.pone.0130140",
        f"{_DOI}10.1371/journal.pone.0130140",
    ),
    Reference(
        "Montavon et al. 2017",
        "Montavon et al. 2017. Explaining nonlinear classification decisions with deep Taylor decomposition."
        " Pattern Recognition 65, arXiv 1512.02479",
        f"{_ARXIV}1512.02479",
    ),
    Reference(
        "Altschul and Erickson 1985",
        "Altschul, Erickson 1985. Significance of nucleotide sequence alignments: a method for random sequence"
        " permutation that preserves dinucleotide and codon usage. Molecular Biology and Evolution 2,"
        " doi 10.1093/oxfordjournals.molbev.a040370",
        f"{_DOI}10.1093/oxfordjournals.molbev.a040370",
    ),
    Reference(
        "Hochberg 1995",
        "Benjamini, Hochberg 1995. Controlling the false discovery rate: a practical and powerful approach to"
        " multiple testing. J. R. Stat. Soc. B 57, doi 10.1111/j.2517-6161.1995.tb02031.x",
        f"{_DOI}10.1111/j.2517-6161.1995.tb02031.x",
    ),
    Reference(
        "Grant et al. 2011",
        "Grant, Bailey, Noble 2011. FIMO: scanning for occurrences of a given motif. Bioinformatics 27,"
        " doi 10.1093/bioinformatics/btr064",
        f"{_DOI}10.1093/bioinformatics/btr064",
    ),
    Reference("JASPAR", "JASPAR, the release that is named above", "https://jaspar.elixir.no"),
)
