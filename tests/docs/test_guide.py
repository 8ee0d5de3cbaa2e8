"""The commands of README and guide: jobs accept their flags, and what can run in a small sandbox runs."""

import ast
import builtins
import re

import pytest
import ray
from pydantic import BaseModel

import pipelines.client
from pipelines.config import StoreConfig
from pipelines.storage.store import Store
from pipelines.table.code_table import CodeTable
from pipelines.table.pointer import publications, read_pointer
from tests.docs.blocks import CONFIGS, JOB, REPOSITORY, blocks, run, understood

GUIDE = REPOSITORY / "docs/guide"
ORDER = ("README", "train", "evaluate", "night", "publish", "serve", "query", "page", "watch")
"""Of the pages, and so of the commands: a night comes before what reads its table."""
PAGES = [GUIDE / f"{name}.md" for name in ORDER]
BLOCKS = [block for page in [REPOSITORY / "README.md", *PAGES] for block in blocks(page)]
READ = [block for block in BLOCKS if block.marks == "read"]
RUN = [block for block in BLOCKS if block.marks != "read"]


def test_every_page_is_read_and_every_job_is_in_one():
    assert sorted(GUIDE.glob("*.md")) == sorted(PAGES)
    assert {block.marks for block in RUN} == {""}
    commands = "\n".join(command for block in BLOCKS for command in block.commands)
    assert set(re.findall(JOB, commands)) == set(CONFIGS)


@pytest.mark.parametrize("block", READ, ids=str)
def test_what_is_not_run_is_understood(block, environment):
    for command in block.commands:
        understood(command, environment)


@pytest.mark.timeout(300)
def test_the_others_run_in_the_order_of_the_pages(sandbox, ray_local):
    environment = sandbox | {"RAY_ADDRESS": ray.get_runtime_context().gcs_address}
    store, table = Store(StoreConfig()), environment["TABLE"]
    printed = {}
    for block in RUN:
        if block.page.stem == "watch":
            version = read_pointer(table, store)
            rows = CodeTable(table, store).read(version.model_id, ["chip_id"], version.table_version)
            environment["CHIP_ID"] = rows["chip_id"][0].as_py()
        printed[block.page.stem] = printed.get(block.page.stem, "") + run(block, environment)
    assert set(printed) == {"README", "night", "publish", "serve", "watch"}
    assert "--source" in printed["README"]
    assert next(iter(publications(table, store))).table_version >= int(environment["VERSION"])
    assert re.search(r"^[0-9a-f]{64}$", printed["serve"], re.MULTILINE)
    assert "harbours" in printed["watch"]


PYTHON = re.findall(r"```python\n(.*?)```", (GUIDE / "query.md").read_text(), re.DOTALL)


@pytest.mark.parametrize("text", PYTHON)
def test_a_python_example_defines_or_imports_every_name(text):
    nodes = list(ast.walk(ast.parse(text)))
    names = [node for node in nodes if isinstance(node, ast.Name)]
    known = {node.id for node in names if isinstance(node.ctx, ast.Store)} | set(dir(builtins))
    known |= {alias.asname or alias.name for node in nodes for alias in getattr(node, "names", [])}
    assert {node.id for node in names} <= known


def test_the_python_example_uses_what_the_client_has():
    text, _ = PYTHON
    tree = ast.parse(text)
    imported = next(
        node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module == "pipelines.client"
    )
    for alias in imported.names:
        assert hasattr(pipelines.client, alias.name)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    methods = [call.func for call in calls if isinstance(call.func, ast.Attribute)]
    called = {each.attr for each in methods if isinstance(each.value, ast.Name) and each.value.id == "client"}
    assert {"search", "image_pages", "frame", "dates_frame"} <= called
    for client in (pipelines.client.Client, pipelines.client.AsyncClient):
        assert all(hasattr(client, name) for name in called)
    for alias in imported.names:
        request = getattr(pipelines.client, alias.name)
        given = [call.keywords for call in calls if getattr(call.func, "id", "") == alias.name]
        assert given
        if issubclass(request, BaseModel):
            assert {keyword.arg for keywords in given for keyword in keywords} <= set(request.model_fields)
