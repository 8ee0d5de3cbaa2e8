"""The first hour: what a newcomer types, in the order in which they type it."""

from dataclasses import dataclass, field

SMALL_NETWORK = (
    *("--weights", "weights.safetensors", "--network.backbone", "resnet18", "--network.node", "layer1"),
    *("--network.kind-bits", "16", "--network.look-bits", "16"),
)
"""A network that is trained in seconds."""


@dataclass(frozen=True)
class Step:
    """A command, and how it is run."""

    name: str
    """Also of the file with its output."""
    command: tuple[str, ...]
    """The job's name and its flags. `{s3}` and `{port}` stand for the S3 server and the service."""
    exit_code: int = 0
    terminal: bool = False
    """Whether the output goes to a terminal of 80 columns, or else through a pipe."""
    folder: str = "maps"
    """Where it is run, below the home of the newcomer."""
    environment: dict[str, str] = field(default_factory=dict)


NIGHT = ("nightly", "--source", "pictures", "--table", "codes", "--bundle", "models:/scenehash@champion")
AGAIN = ("nightly", "--source", "~/maps/pictures", "--table", "~/maps/codes", *NIGHT[5:], "--chip-size", "32")
S3 = ("nightly", "--source", "s3://archive/scenes", "--table", "s3://archive/codes", "--bundle", "bundles/x")
S3 += ("--chip-size", "32", "--store.endpoint", "{s3}", "--store.patience", "2")
TRAIN = ("train", "--source", "labelled", "--bundles", "bundles", "--alias", "champion", *SMALL_NETWORK)
QUERY = ("query", "--url", "http://127.0.0.1:{port}", "--point", "-59.9,9.9", "-k", "3")
WATCH = ("watch", "add", "--watches", "watches", "--name", "stripes", "--table", "codes")

RUN_WATCHES = ("watch", "run", "--watches", "~/maps/watches", "--output", "hits")

BEFORE = (
    Step("help", ("nightly", "--help"), terminal=True),
    Step("unknown-job", ("nigthly",), exit_code=2),
    Step("train-without-source", ("train", "--bundles", "bundles"), exit_code=2),
    Step("train-wrong-source", ("train", "--source", "lablled", "--bundles", "bundles"), exit_code=2),
    Step("night-before-training", NIGHT, exit_code=2),
    Step("mistyped-variable", NIGHT, exit_code=2, environment={"SCENEHASH_CHIP_SIZ": "32"}),
    Step("no-folder-for-mlflow", (*TRAIN, "--tracking.uri", "no/mlflow.db"), exit_code=2),
    Step("serve-nothing", ("serve", "--table", "codes", "--open", "--port", "{port}"), exit_code=2),
    Step("s3-wrong-key", S3, exit_code=2, environment={"AWS_SECRET_ACCESS_KEY": "wrong"}),
    Step("s3-no-bucket", tuple(each.replace("archive", "archiv") for each in S3), exit_code=2),
)
"""Mistakes and questions: each is answered in one line, and nothing is written."""

WORK = (
    Step("train", TRAIN, terminal=True),
    Step("night-with-too-large-chips", (*NIGHT, "--dry-run"), terminal=True),
    Step("night-dry-run", (*NIGHT, "--chip-size", "32", "--dry-run"), terminal=True),
    Step("night", (*NIGHT, "--chip-size", "32"), terminal=True),
    Step("night-again-from-elsewhere", AGAIN, folder="elsewhere"),
    Step("evaluate", ("evaluate", "--bundle", "models:/scenehash@champion", "--source", "labelled",
                      "--output", "evaluation"), terminal=True),
    Step("history", ("publish", "--table", "codes", "--history"), terminal=True),
    Step("publish-unknown-version", ("publish", "--table", "codes", "--version", "99"), exit_code=2),
    Step("watch-add", (*WATCH, "--image", "pictures/one.tif", "--max-distance", "4", "--from-start")),
    Step("watch-run", RUN_WATCHES, folder="elsewhere"),
    Step("watch-list", ("watch", "list", "--watches", "watches"), terminal=True),
)  # fmt: skip
"""From labelled pictures to a published table."""

ASKED = (
    Step("serve-on-a-busy-port", ("serve", "--table", "codes", "--open", "--port", "{port}"), exit_code=2),
    Step("query", QUERY, terminal=True),
    Step("query-piped", QUERY),
    Step("query-json", (*QUERY, "--json")),
    Step("query-nothing-there", (*QUERY, "--point", "0,-80"), exit_code=2),
    Step("query-sheet", (*QUERY, "--output", "sheet.html")),
)
"""Of the service."""
