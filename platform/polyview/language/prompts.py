"""Sentences that describe an expression, several for each, the most typical first."""

from __future__ import annotations

from polyview.errors import UserError
from polyview.recipe import Language

PROMPTS: dict[str, tuple[str, ...]] = {
    "neutral": (
        "a face with a neutral expression",
        "a person with a relaxed, expressionless face",
        "a calm face with the mouth closed and the brows at rest",
        "a 3D scan of a face at rest",
        "a blank face that shows no emotion",
        "someone scoring straight ahead without any expression",
        "a photo of a neutral face",
        "a serious, still face with relaxed lips",
    ),
    "anger": (
        "an angry face with lowered brows and tight lips",
        "an angry person",
        "a furious face with a hard stare",
        "a 3D scan of an angry face with lowered brows",
        "a face that frowns with anger, the lips pressed together",
        "someone who is mad and glares with narrowed eyes",
        "a photo of an angry expression",
        "a face with knitted brows and a clenched jaw",
    ),
    "disgust": (
        "a disgusted face with a wrinkled nose and a raised upper lip",
        "a disgusted person",
        "a face that grimaces at a bad smell",
        "a 3D scan of a disgusted face with a wrinkled nose",
        "someone who looks revolted and curls the upper lip",
        "a face with a scrunched nose and narrowed eyes",
        "a photo of an expression of disgust",
        "a repelled face with the corners of the mouth pulled down",
    ),
    "fear": (
        "a fearful face with wide eyes and raised, drawn brows",
        "a scared person",
        "a frightened face with the lips stretched sideways",
        "a 3D scan of a fearful face with wide open eyes",
        "someone who is terrified, the mouth open and tense",
        "an anxious face with tense, raised eyebrows",
        "a photo of an expression of fear",
        "a face in panic with staring eyes",
    ),
    "happiness": (
        "a face with a broad smile and raised cheeks",
        "a happy person",
        "a smiling face",
        "a 3D scan of a happy face with the lip corners pulled up",
        "a cheerful face that laughs and shows its teeth",
        "someone who beams with joy",
        "a photo of a happy expression",
        "a joyful face with crinkled eyes",
    ),
    "sadness": (
        "a sad face with the lip corners turned down and raised inner brows",
        "a sad person",
        "an unhappy face with drooping eyes",
        "a 3D scan of a sad face with a downturned mouth",
        "someone who is about to cry",
        "a sorrowful face with slanted brows and a trembling chin",
        "a photo of an expression of sadness",
        "a gloomy face with a frowning mouth",
    ),
    "surprise": (
        "a surprised face with raised brows and an open mouth",
        "a surprised person",
        "an astonished face with the jaw dropped",
        "a 3D scan of a surprised face with high arched brows",
        "someone who is amazed, the eyes wide and the mouth round",
        "a startled face with wide open eyes",
        "a photo of an expression of surprise",
        "a face that gasps in wonder with lifted eyebrows",
    ),
}

TEMPLATES = (
    "a face with an expression of {}",
    "a person who shows {}",
    "a facial expression of {}",
    "a 3D scan of a face that expresses {}",
    "a portrait of someone who feels {}",
    "a close view of a face full of {}",
    "a photo of an expression of {}",
    "someone whose face shows {}",
)


LOOKS = {
    "neutral": "a neutral expression",
    "anger": "an angry expression",
    "disgust": "a disgusted expression",
    "fear": "a fearful expression",
    "happiness": "a happy expression",
    "sadness": "a sad expression",
    "surprise": "a surprised expression",
}
PEOPLE = ("a young woman", "a young man", "an older woman", "an older man")


def prompts_for(expression: str, language: Language) -> tuple[str, ...]:
    """The prompts of an expression, as many for each: its first `language.ensemble`, and those by attributes.

    The former are `language.own` if there are any, else the built-in ones, else templates filled with an unknown
    name, in which underscores and hyphens read as spaces. `language.attributes` adds one per sort of person, such as
    "a young woman with an angry expression" (AffectVLM, arXiv 2504.19739).
    Raises `UserError` if more are asked for than there are.
    """
    name = expression.replace("_", " ").replace("-", " ").strip()
    prompts = language.own.get(expression) or PROMPTS.get(expression)
    prompts = prompts or tuple(template.format(name) for template in TEMPLATES)
    if language.ensemble > len(prompts):
        raise UserError(
            f"language.ensemble is {language.ensemble}, and there are {len(prompts)} prompts for {expression!r}; "
            f"set language.ensemble to {len(prompts)} or fewer"
        )
    look = LOOKS.get(expression, f"an expression of {name}")
    people = PEOPLE if language.attributes else ()
    return (*prompts[: language.ensemble], *(f"{person} with {look}" for person in people))
