"""Searches, from request to answer: examples to codes, all shards asked, their parts merged."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from pipelines.api.requests import SearchRequest
from pipelines.serve.cursor import BAD_TOKEN, read_token
from pipelines.serve.fanout import Shards
from pipelines.serve.merge import Worded, merged
from pipelines.serve.pools import WorkPool
from pipelines.serve.question import Pin, Question, Said, Source
from pipelines.serve.refusals import Refusal, RefusedRequest

Answer = Worded | Refusal

_WORDING = WorkPool("wording", 2)
_LARGE_PAGE = 100  # chips, from which on other requests needn't wait for the wording


async def search(shards: Shards, request: SearchRequest, image_model: str | None = None) -> Worded:
    """Return the answer to a search; ``image_model`` encoded the image whose code the request has.

    Raises RefusedRequest.
    """
    question, version = _question(request)
    pin = Pin(version=version, model_id=image_model)
    answer = (await _answers(shards, [question], pin, is_image=image_model is not None))[0]
    if isinstance(answer, Refusal):
        raise RefusedRequest(answer)
    return answer


async def search_batch(shards: Shards, requests: Sequence[SearchRequest]) -> list[Answer]:
    """Return the answers to several searches, in order, all from one snapshot.

    Raises RefusedRequest where they ask for several snapshots, or for one that isn't kept.
    """
    questions: dict[int, Question] = {}
    refused: dict[int, Refusal] = {}
    versions = set()
    for place, request in enumerate(requests):
        try:
            questions[place], version = _question(request)
            versions.add(version)
        except RefusedRequest as error:
            refused[place] = error.refusal
    if len(versions - {None}) > 1:
        message = "the queries of a batch ask for several snapshots"
        raise RefusedRequest(Refusal(400, "contradiction", message, "ask for one, or send them apart"))
    pin = Pin(version=next(iter(versions - {None}), None))
    answers = iter(await _answers(shards, list(questions.values()), pin)) if questions else iter(())
    return [refused[place] if place in refused else next(answers) for place in range(len(requests))]


def _question(request: SearchRequest) -> tuple[Question, int | None]:
    """Return the question, and the version of the table that is to answer it."""
    if request.token is None:
        return Question(request), request.snapshot
    version, cursor = read_token(request)
    return Question(request, cursor), version


async def _answers(
    shards: Shards, questions: Sequence[Question], pin: Pin, *, is_image: bool = False
) -> list[Answer]:
    source, said = await shards.ask(questions, pin)
    answers: list[Answer | None] = [
        await _answer(*each, source, is_image) for each in zip(questions, said, strict=True)
    ]
    open_places = [place for place, answer in enumerate(answers) if answer is None]
    if not open_places:
        return [answer for answer in answers if answer is not None]
    # some shards hold examples that the others must know of
    asked: dict[int, Question] = {}
    for place in open_places:
        question = _resolved(questions[place], said[place])
        if isinstance(question, Refusal):
            answers[place] = question
        else:
            asked[place] = question
    if asked:
        source, said = await shards.ask(list(asked.values()), replace(pin, number=source.number))
        for (place, question), each in zip(asked.items(), said, strict=True):
            answers[place] = await _answer(question, each, source, is_image)
    return [answer for answer in answers if answer is not None]


async def _answer(
    question: Question, said: list[Said] | Refusal, source: Source, is_image: bool
) -> Answer | None:
    """Return the answer, or None where the shards don't know all examples yet."""
    if isinstance(said, Refusal):
        return said
    parts = [each.found for each in said if each.found is not None]
    if len(parts) < len(said):
        return None
    if sum(part.passed for part in parts) != question.cursor.returned:
        return BAD_TOKEN  # one that was written here says how many chips came before
    word = partial(merged, question, source, parts, is_image=is_image)
    is_large = sum(len(part.chips) for part in parts) > _LARGE_PAGE
    return await _WORDING.run(word) if is_large else word()


def _resolved(question: Question, said: list[Said] | Refusal) -> Question | Refusal:
    """Return the question with the codes of its examples, or the one that no shard has."""
    if isinstance(said, Refusal):
        return said
    resolved = question.with_examples(example for each in said for example in each.examples)
    if resolved.is_resolved:
        return resolved
    point = question.request.point
    if point is not None:
        message = f"no chip lies at longitude {point[0]}, latitude {point[1]}"
        return Refusal(404, "no_chip_here", message, "choose a point inside the archive")
    return no_such_chip(next(chip_id for chip_id in question.example_ids if chip_id not in resolved.codes))


def no_such_chip(chip_id: str) -> Refusal:
    """Return what is told of a chip that no shard has."""
    return Refusal(
        404, "no_such_chip", f"the table has no chip {chip_id!r}", "see GET /v1/snapshot for what is served"
    )
