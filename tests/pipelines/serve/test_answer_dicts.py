"""The answers that are written without pydantic have the keys of the models that document them."""

from typing import Any, NotRequired, get_origin, get_type_hints

import pytest
from pydantic import BaseModel

from pipelines.api.answers import ComparedPart, Link, LinkedFeature, SearchInfo
from pipelines.api.answers_by_form import SelectedFeature
from pipelines.serve.answer_dicts import (
    ComparedPartDict,
    FeatureDict,
    LinkDict,
    SearchInfoDict,
)


@pytest.mark.parametrize(
    ("written", "documented"),
    [
        (FeatureDict, LinkedFeature),
        (FeatureDict, SelectedFeature),
        (ComparedPartDict, ComparedPart),
        (SearchInfoDict, SearchInfo),
        (LinkDict, Link),
    ],
)
def test_keys(written: Any, documented: type[BaseModel]) -> None:
    assert list(get_type_hints(written)) == list(documented.model_fields)


def test_only_keys_that_the_models_may_lack_are_optional() -> None:
    hints = get_type_hints(FeatureDict, include_extras=True)
    optional = [name for name, kind in hints.items() if get_origin(kind) is NotRequired]
    assert optional == ["id", "bbox", "assets"]
    assert all(SelectedFeature.model_fields[name].exclude_if is not None for name in optional)
    assert LinkedFeature.model_fields["bbox"].exclude_if is not None
