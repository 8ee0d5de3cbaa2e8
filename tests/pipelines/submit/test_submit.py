"""Starting a night: a real HTTPS server that answers as Kubernetes does for RayJobs."""

import json
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ssl import PROTOCOL_TLS_SERVER, SSLContext

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pipelines.errors import ConfigError, ConflictError, ReportedError
from pipelines.submit.config import OwnerConfig, SubmitConfig
from pipelines.submit.run import run_submit

PATH = "/apis/ray.io/v1/namespaces/scenes/rayjobs"
TEMPLATE = {
    "apiVersion": "ray.io/v1",
    "kind": "RayJob",
    "metadata": {
        "name": "nightly",
        "uid": "t",
        "labels": {"scenehash/part": "batch"},
        "annotations": {"a": "b"},
    },
    "spec": {"suspend": True, "entrypoint": "python -m jobs.nightly"},
    "status": {"jobDeploymentStatus": "Suspended"},
}


class Api:
    """RayJobs by name, and the statuses that each will have, one a look; the last one stays."""

    def __init__(self):
        self.rayjobs = {"nightly": TEMPLATE}
        self.statuses = [{"jobDeploymentStatus": "Complete", "jobStatus": "SUCCEEDED"}]
        self.failures = []  # statuses of the next answers, in place of what was asked for

    def answer(self, method, path, token, body):
        if self.failures:
            return self.failures.pop(0), {"message": "etcd is busy"}
        if token != "Bearer the-token":
            return 401, {"message": "Unauthorized"}
        if method == "POST" and path == PATH:
            name = body["metadata"]["name"]
            if name in self.rayjobs:
                return 409, {"message": f"{name} already exists"}
            self.rayjobs[name] = body
            return 201, body
        rayjob = self.rayjobs.get(path.removeprefix(f"{PATH}/"))
        if rayjob is None:
            return 404, {"message": "not found"}
        if rayjob is not TEMPLATE:
            rayjob["status"] = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        return 200, rayjob


def _certificate(folder):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "ca.crt").write_bytes(certificate.public_bytes(pem))
    (folder / "key").write_bytes(private)


@pytest.fixture
def api(tmp_path):
    """The server's state; its address and the service account's folder are in ``api.config``."""
    state = Api()

    class Handler(BaseHTTPRequestHandler):
        def _handle(self):
            length = int(self.headers.get("Content-Length", 0))
            body = json.loads(self.rfile.read(length)) if length else None
            status, answer = state.answer(self.command, self.path, self.headers["Authorization"], body)
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = _handle

        def log_message(self, *_):
            """Say nothing."""

    _certificate(tmp_path)
    (tmp_path / "token").write_text("the-token\n")
    (tmp_path / "namespace").write_text("scenes")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = SSLContext(PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "ca.crt", tmp_path / "key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    state.config = SubmitConfig(
        template="nightly",
        owner=OwnerConfig(name="nightly-1", uid="u1"),
        api=f"https://localhost:{server.server_port}",
        account=tmp_path,
        poll_seconds=0.01,
    )
    yield state
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_night_is_a_copy_of_the_template_named_by_the_date(api):
    api.statuses = [{}, {"jobDeploymentStatus": "Running", "jobStatus": "RUNNING"}, *api.statuses]
    report = run_submit(api.config)
    assert report.name in {f"nightly-{datetime.now(UTC) - timedelta(days=days):%Y-%m-%d}" for days in (0, 1)}
    assert report.job_status == "SUCCEEDED"
    rayjob = api.rayjobs[report.name]
    assert rayjob["metadata"] == {
        "name": report.name,
        "labels": {"scenehash/part": "batch"},
        "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": "nightly-1", "uid": "u1"}],
    }
    assert rayjob["spec"] == {
        "suspend": False,
        "entrypoint": "python -m jobs.nightly",
        "jobId": report.name,
    }


def test_a_second_night_of_the_same_date_is_refused(api):
    run_submit(api.config)
    other = api.config.model_copy(update={"owner": OwnerConfig(name="by-hand", uid="u2")})
    with pytest.raises(ConflictError, match="has been started already"):
        run_submit(other)


def test_a_job_that_is_started_again_waits_for_what_it_has_submitted(api):
    first = run_submit(api.config)
    assert run_submit(api.config) == first
    assert len(api.rayjobs) == 2


@pytest.mark.parametrize(
    "status",
    [
        {"jobDeploymentStatus": "Failed", "jobStatus": "FAILED", "reason": "AppFailed", "message": "exit 3"},
        {"jobDeploymentStatus": "Failed", "reason": "DeadlineExceeded"},
        {"jobDeploymentStatus": "Complete", "jobStatus": "STOPPED"},
    ],
)
def test_a_night_that_fails_is_an_error_with_a_report(api, status):
    api.statuses = [status]
    with pytest.raises(ReportedError, match=f"failed: {', '.join(status.values())}$") as raised:
        run_submit(api.config)
    assert raised.value.report.deployment_status == status["jobDeploymentStatus"]


def test_the_api_may_be_away_while_a_night_runs(api):
    name = "nightly-by-hand"
    api.statuses = [{"jobDeploymentStatus": "Running"}, *api.statuses]
    api.rayjobs[name] = {"metadata": {"name": name, "ownerReferences": [{"uid": "u1"}]}}
    answer, seen = api.answer, []

    def flaky(method, path, *rest):
        seen.append(path)
        return (503, {"message": "etcd is busy"}) if len(seen) in (4, 5) else answer(method, path, *rest)

    api.answer = flaky
    assert run_submit(api.config.model_copy(update={"name": name})).job_status == "SUCCEEDED"
    assert len(seen) > 5


def test_what_kubernetes_refuses_is_told(api, tmp_path):
    with pytest.raises(ConfigError, match="RayJob weekly, can't be read: 404 not found"):
        run_submit(api.config.model_copy(update={"template": "weekly"}))
    api.failures = [500]
    with pytest.raises(ReportedError, match=r"doesn't answer.*500"):
        run_submit(api.config)
    (tmp_path / "token").write_text("expired")
    with pytest.raises(ConfigError, match="401 Unauthorized"):
        run_submit(api.config)
    (tmp_path / "token").unlink()
    with pytest.raises(ConfigError, match="a pod that has one"):
        run_submit(api.config)
