"""Why a snapshot can't answer a question."""

from pipelines.api.requests import CONTRADICTION, Compared
from pipelines.errors import ComparisonError
from pipelines.index.part_weights import comparison_of
from pipelines.serve.question import Question
from pipelines.serve.refusals import Refusal
from pipelines.serve.snapshot import Snapshot


def why_refused(question: Question, snapshot: Snapshot) -> Refusal | None:
    """Return why a snapshot can't answer a question; None if it can."""
    request, published, bits = question.request, snapshot.published, snapshot.code.bits
    if question.cursor.table_id not in ("", published.table_id):
        message = "the table of the pages before this one has been replaced"
        return Refusal(410, "not_kept", message, "leave snapshot and token out, and start again")
    refusal = why_not_comparable(request, snapshot)
    if refusal is None and request.code is not None and len(request.code) * 4 != bits:
        message = f"code: it has {len(request.code) * 4} bits, this model's codes have {bits}"
        return Refusal(422, "invalid", message, f"send {bits // 4} hex digits")
    return refusal


def why_not_comparable(request: Compared, snapshot: Snapshot) -> Refusal | None:
    """Return why a snapshot can't compare codes as a request asks; None if it can."""
    published = snapshot.published
    if request.model_id not in (None, published.model_id):
        message = f"the codes served are of model {published.model_id}, not {request.model_id}"
        return Refusal(409, "other_model", message, "encode the example with the model that is served")
    try:
        comparison_of(snapshot.code, request.compare, request.kind_weight)
    except ComparisonError as error:
        status = 400 if error.code == CONTRADICTION else 422
        return Refusal(status, error.code, error.message, error.hint)
    return None
