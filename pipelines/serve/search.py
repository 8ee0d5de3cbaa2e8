"""A search from request to answer: look up the codes of its examples, ask all shards, merge their results."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from pipelines.api.requests import SearchRequest
from pipelines.serve.cursor import BAD_TOKEN, read_token
from pipelines.serve.fanout import Shards
from pipelines.serve.merge import merge_results
from pipelines.serve.page import Page
from pipelines.serve.pools import WorkPool
from pipelines.serve.question import Example, Question, ShardReply, SnapshotId, SnapshotSelector
from pipelines.serve.refusals import Refusal, RefusedRequest

Answer = Page | Refusal

_MERGING = WorkPool("merging", 2)
_LARGE_PAGE = 100  # chips: larger pages are merged in a thread, so that other requests don't wait


async def search(shards: Shards, request: SearchRequest, image_model: str | None = None) -> Page:
    """Return the answer to a search. ``image_model``: the model that encoded the client's image, if any.

    Raises RefusedRequest.
    """
    question, version = _question(request)
    selector = SnapshotSelector(version=version, model_id=image_model)
    answer = (await _answers(shards, [question], selector, is_image=image_model is not None))[0]
    if isinstance(answer, Refusal):
        raise RefusedRequest(answer)
    return answer


async def search_batch(shards: Shards, requests: Sequence[SearchRequest]) -> list[Answer]:
    """Return the answers to several searches, in their order, all from one snapshot.

    Raises RefusedRequest if they ask for different snapshots, or for one that isn't kept.
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
    selector = SnapshotSelector(version=next(iter(versions - {None}), None))
    answers = iter(await _answers(shards, list(questions.values()), selector)) if questions else iter(())
    return [refused[place] if place in refused else next(answers) for place in range(len(requests))]


def _question(request: SearchRequest) -> tuple[Question, int | None]:
    """Return the question, and the version of the table that must answer it; None: the one served now."""
    if request.token is None:
        return Question(request), request.snapshot
    version, cursor = read_token(request)
    return Question(request, cursor), version


async def _answers(
    shards: Shards, questions: Sequence[Question], selector: SnapshotSelector, *, is_image: bool = False
) -> list[Answer]:
    """Ask the shards once, and a second time about the questions whose examples some shards didn't know."""
    snapshot_id, replies = await shards.ask(questions, selector)
    answers: list[Answer | None] = [
        await _answer(shards, *each, snapshot_id, is_image) for each in zip(questions, replies, strict=True)
    ]
    asked_again: dict[int, Question] = {}
    for place, answer in enumerate(answers):
        if answer is not None:
            continue
        question = _with_all_codes(questions[place], replies[place])
        if isinstance(question, Refusal):
            answers[place] = question
        else:
            asked_again[place] = question
    if asked_again:
        selector = replace(selector, number=snapshot_id.number)
        snapshot_id, replies = await shards.ask(list(asked_again.values()), selector)
        for (place, question), each in zip(asked_again.items(), replies, strict=True):
            answers[place] = await _answer(shards, question, each, snapshot_id, is_image)
    return [answer for answer in answers if answer is not None]


async def _answer(
    shards: Shards,
    question: Question,
    replies: list[ShardReply] | Refusal,
    snapshot_id: SnapshotId,
    is_image: bool,
) -> Answer | None:
    """Return the answer to a question; None if a shard didn't know the codes of all examples."""
    if isinstance(replies, Refusal):
        return replies
    results = [reply.result for reply in replies if reply.result is not None]
    if len(results) < len(replies):
        return None
    if sum(result.passed for result in results) != question.cursor.returned:
        return BAD_TOKEN  # our own tokens have the right number of chips before the page
    chance_distance = await shards.chances.distance(question, snapshot_id)
    merge = partial(merge_results, question, snapshot_id, results, chance_distance, is_image=is_image)
    is_large = sum(len(result.chips["chip_id"]) for result in results) > _LARGE_PAGE
    return await _MERGING.run(merge) if is_large else merge()


def _with_all_codes(question: Question, replies: list[ShardReply] | Refusal) -> Question | Refusal:
    if isinstance(replies, Refusal):
        return replies
    return with_examples(question, [example for reply in replies for example in reply.examples])


def with_examples(question: Question, examples: Sequence[Example]) -> Question | Refusal:
    """Return the question with the codes of all its examples, or a refusal that names one no shard has."""
    resolved = question.with_examples(examples)
    if resolved.is_resolved:
        return resolved
    point = question.request.point
    if point is not None:
        message = f"no chip lies at longitude {point[0]}, latitude {point[1]}"
        return Refusal(404, "no_chip_here", message, "choose a point inside the archive")
    return no_such_chip(next(chip_id for chip_id in question.example_ids if chip_id not in resolved.codes))


def no_such_chip(chip_id: str) -> Refusal:
    """Return the refusal for a chip id that no shard has."""
    return Refusal(
        404, "no_such_chip", f"the table has no chip {chip_id!r}", "see GET /v1/snapshot for what is served"
    )
