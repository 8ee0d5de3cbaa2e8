"""The state of one night, and the plan of what is left."""

import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines import __version__
from pipelines.encode.config import EncodeConfig
from pipelines.encode.in_process import InProcessExecution, suffices
from pipelines.encode.parcels import units_of
from pipelines.encode.plan import Done, Plan, Rules, make_plan
from pipelines.encode.report import Tally
from pipelines.encode.shards import Lineage, UnitResult
from pipelines.encode.stream import Execution, Stream, WrittenUnit
from pipelines.encode.versions import read_encoded, read_rejected
from pipelines.errors import ConfigError
from pipelines.imagery.chip_spec import ChipSpec
from pipelines.registry.bundles import read_manifest
from pipelines.sources.chip_specs import chip_specs_of
from pipelines.sources.listing import list_source
from pipelines.storage.store import Store
from pipelines.table.code_table import CodeTable
from pipelines.table.conflicts import Conflicts

if TYPE_CHECKING:
    from pipelines.encode.prometheus import NightMetrics


class Night:
    """What a night works with, and what it has counted so far."""

    def __init__(
        self, config: EncodeConfig, bundle_uri: str, run_id: str, folder: Path, cluster: ExitStack
    ) -> None:
        """List the source. ``folder`` is for temporary files; ``cluster`` ends what runs on a cluster."""
        self.config, self.bundle_uri = config, bundle_uri
        self.folder = folder
        self.store = Store(config.store)
        self.manifest = read_manifest(bundle_uri, self.store)
        self.chip_specs = chip_specs_of(config, self.manifest.input)
        self.table = CodeTable(config.table, self.store)
        self.lineage = Lineage(self.manifest.model_id, run_id)
        self.listing = list_source(config, self.store, folder)
        self.tally = Tally(failed=list(self.listing.failed))
        self.known_rejects = 0
        self.conflicts = Conflicts()
        self.stream: Stream | None = None
        self.streamed: Plan | None = None  # the one that the stream was begun with
        self.uncommitted: WrittenUnit | None = None  # is being committed, or its commit lost a race
        self.from_the_end = False  # whether units are taken from the end of the plan
        self.metrics: NightMetrics | None = None  # once there is a cluster, which exports them
        self._cluster = cluster

    def start(self, plan: Plan) -> Stream:
        """Begin with a plan's units: in this process if they are few, else on a cluster."""
        objects = Path(shutil.copy(plan.new, self.folder / "streamed.parquet"))  # another plan replaces it
        of_plan = self.config, self.bundle_uri, self.chip_specs, self.lineage, objects, plan.num_new
        execution: Execution
        if self.metrics is None and suffices(self.config, plan.num_new):
            execution = InProcessExecution(*of_plan)
        else:
            # here: Ray takes seconds to import, which a night without work saves
            from pipelines.encode.execution import RayExecution

            self._connect()
            execution = RayExecution(*of_plan)
        self._cluster.callback(self.end_stream)  # before the cluster ends
        units = units_of(objects, self.config.objects_per_unit)
        self.stream, self.streamed = Stream(units, execution, self.discard), plan
        return self.stream

    def _connect(self) -> None:
        """Connect to Ray or start it here, once."""
        from pipelines.encode.execution import cpus_needed
        from pipelines.encode.prometheus import NightMetrics
        from pipelines.runtime.cluster import connected, warn_if_short

        if self.metrics is None:
            self._cluster.enter_context(connected())
            warn_if_short(cpus_needed(self.config))
            self.metrics = NightMetrics(self.lineage.model_id)

    def end_stream(self, *, discard: bool = False) -> int:
        """End the stream, if there is one (`Stream.close`)."""
        stream, self.stream = self.stream, None
        return stream.close(discard=discard) if stream else 0

    def discard(self, result: UnitResult) -> None:
        """Remove the shards of a unit that is not to be committed."""
        self.table.discard(result.shards)

    def metadata(self, number: int) -> dict[str, str]:
        """Return what the commit of this number says of its origin."""
        return {
            "run_id": self.lineage.run_id,
            "unit_id": f"{self.lineage.model_id}/{number}",
            "code_version": __version__,
        }


def plan_of(night: Night) -> Plan:
    """Compare the archive with the table as it is now.

    Raises ConfigError if too much would be pruned, or if objects were encoded with another chip spec.
    """
    model_id, config = night.lineage.model_id, night.config
    done = Done(
        read_encoded(night.table, model_id, night.folder), read_rejected(night.table, model_id, night.folder)
    )
    rules = Rules(config.prune, whole=not config.covers_a_part, from_the_end=night.from_the_end)
    plan = make_plan(night.listing, night.chip_specs, done, night.tally.failed, night.folder, rules)
    vanished = plan.num_vanished or 0
    share = vanished / (vanished + night.listing.count)
    if config.prune and share > config.max_prune_share:
        raise ConfigError(
            f"stopped: {config.source} doesn't list {vanished} encoded objects any more "
            f"({share:.3f} of all), and max_prune_share is {config.max_prune_share}; "
            "check the source, or raise it for this run"
        )
    if plan.recut and not config.recut:
        uri, was, now = plan.recut
        raise ConfigError(
            f"stopped: {plan.num_recut} objects of {config.source} are encoded with another chip spec, "
            f"such as {uri}: {was}, and now {now}; "
            f"the difference is {ChipSpec.read(was).changes(ChipSpec.read(now))}. "
            "Go back to that, take another table, or encode them again with --recut"
        )
    return plan
