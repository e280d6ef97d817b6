"""The programs in examples/."""

from __future__ import annotations

import csv
import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from cstar import Cstar, PermissionDeniedError
from cstar.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cstar import Attempt

    Run = Callable[..., subprocess.CompletedProcess[str]]

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture
def box(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    with Sandbox(customers=30) as box:
        monkeypatch.setenv("CSTAR_API_KEY", box.api_key)
        monkeypatch.setenv("CSTAR_BASE_URL", box.url)
        yield box


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "customers.csv"


def run_program(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, EXAMPLES / name, *arguments], capture_output=True, text=True, timeout=300, check=False
    )


@pytest.fixture
def sync_crm(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run sync_crm.py like `run_program`, but in this process, which takes a tenth of the time."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "argv", ["sync_crm.py", *arguments])
        capsys.readouterr()
        code: int | str | None = None
        try:
            runpy.run_path(str(EXAMPLES / "sync_crm.py"), run_name="__main__")
        except SystemExit as end:
            code = end.code
        captured = capsys.readouterr()
        if isinstance(code, str):  # Python prints it, and exits with 1
            return subprocess.CompletedProcess([], 1, captured.out, f"{captured.err}{code}\n")
        return subprocess.CompletedProcess([], code or 0, captured.out, captured.err)

    return run


def test_quickstart_creates_updates_lists_and_deletes_a_customer() -> None:
    done = run_program("quickstart.py")
    assert (done.returncode, done.stderr) == (0, "")
    labels = [line.split()[0] for line in done.stdout.splitlines() if not line.startswith(" ")]
    assert labels == ["A", "whoami", "create", "get", "update", "conflict", "list", "delete", "limit"]
    assert "resource_already_exists" in done.stdout
    [list_line] = [line for line in done.stdout.splitlines() if line.startswith("list")]
    total, count = (int(word) for word in list_line.split() if word.isdigit())
    assert total == count > 100


CSV = "\ufeffemail,name,status,tags,notes\na@sync.test,Ann,active,vip;new,Hello\nb@sync.test,Bob,,,\n"


def test_sync_crm_creates_updates_and_can_be_run_again(sync_crm: Run, box: Sandbox, path: Path) -> None:
    path.write_text(CSV, encoding="utf-8")
    assert "2 created\n" in sync_crm(str(path)).stdout
    assert "2 unchanged\n" in sync_crm(str(path)).stdout
    path.write_text(CSV.replace("Hello", "").replace("Bob", "Robert"), encoding="utf-8")
    assert "2 updated\n" in sync_crm(str(path)).stdout
    with Cstar() as client:
        rows = {row.email: row for row in client.customers.list(box.team_id, search="@sync.test")}
    assert (rows["a@sync.test"].notes, rows["a@sync.test"].tags) == (None, ["vip", "new"])
    assert (rows["b@sync.test"].name, rows["b@sync.test"].status) == ("Robert", "active")


def test_the_demo_of_sync_crm_runs() -> None:
    done = run_program("sync_crm.py", "--demo")
    assert (done.returncode, done.stderr) == (0, "")
    assert "2000 created\nrequests: 1 to read, 4 to write; without bulk calls, 2000 to write\n" in done.stdout
    assert (
        "1699 unchanged, 301 updated\nrequests: 20 to read, 4 to write; without bulk calls, 301 to write" in done.stdout
    )


def test_sync_crm_completes_a_failed_run(sync_crm: Run, box: Sandbox, path: Path) -> None:
    rows = "".join(f"{number}@sync.test,Customer {number}\n" for number in range(700))
    path.write_text("email,name\n" + rows, encoding="utf-8")
    box.faults.add("status", status=403, path="*/import", when="after")
    done = sync_crm(str(path))
    assert (done.returncode, "error: POST /teams/" in done.stderr) == (1, True)
    assert "200 created, 500 unchanged\n" in sync_crm(str(path)).stdout
    with Cstar() as client:
        assert client.customers.list(box.team_id, search="@sync.test").total == 700


def test_sync_crm_recreates_a_deleted_customer(sync_crm: Run, box: Sandbox, path: Path) -> None:
    path.write_text(CSV, encoding="utf-8")
    sync_crm(str(path))
    with Cstar() as client:
        [ann] = client.customers.list(box.team_id, search="a@sync.test")
        client.customers.delete(box.team_id, ann.id)
        assert "1 created, 1 unchanged" in sync_crm(str(path)).stdout
        assert client.customers.list(box.team_id, search="a@sync.test").total == 1


def test_sync_crm_continues_after_a_rejected_row(sync_crm: Run, box: Sandbox, path: Path) -> None:
    path.write_text(CSV.replace("a@sync.test", "not an address"), encoding="utf-8")
    done = sync_crm(str(path))
    assert (done.returncode, "1 created, 1 rejected" in done.stdout) == (1, True)
    assert "line 2, not an address: " in done.stderr


def test_sync_crm_continues_after_a_rejected_change(sync_crm: Run, box: Sandbox, path: Path) -> None:
    path.write_text(CSV, encoding="utf-8")
    sync_crm(str(path))
    path.write_text(CSV.replace("Ann", "Anna").replace("Bob", "Robert"), encoding="utf-8")
    box.faults.add("status", status=422, path="*/bulk")
    done = sync_crm(str(path))
    assert (done.returncode, "1 rejected, 1 updated" in done.stdout) == (1, True)
    assert "line 2, a@sync.test: POST /teams/" in done.stderr


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("name\nAnn\n", "lacks the columns email"),
        (CSV + "c@sync.test,Cy,gone\n", "line 4: the status must be one of active, inactive, not 'gone'"),
        (CSV + "c@sync.test\n", "line 4: the name is missing"),
        (CSV + "A@sync.test,Ann\n", "line 4: A@sync.test is in line 2 already"),
    ],
)
def test_sync_crm_validates_the_file_before_the_first_request(
    sync_crm: Run, box: Sandbox, path: Path, content: str, message: str
) -> None:
    path.write_text(content, encoding="utf-8")
    done = sync_crm(str(path))
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(box.requests)


def test_the_demo_of_export_csv_runs() -> None:
    done = run_program("export_csv.py", "--demo")
    assert (done.returncode, done.stderr) == (0, "")
    in_one_request, in_pages = done.stdout.splitlines()
    assert in_one_request.startswith("2500 customers, requests: 1, ")
    assert in_pages == in_one_request.replace("requests: 1,", "requests: 25,")


def test_export_csv_resumes_an_interrupted_export(box: Sandbox, path: Path) -> None:
    from export_csv import export_all, export_once

    def fail_third_request(attempt: Attempt) -> None:
        if len(box.requests) == 2:
            box.faults.add("status", status=403)

    with Cstar(on_attempt=fail_third_request) as client:
        rows = ({"name": f"Customer {number}", "email": f"{number}@export.test"} for number in range(320))
        client.customers.bulk_import(box.team_id, rows)
        with pytest.raises(PermissionDeniedError):
            export_all(client, box.team_id, path)
    assert not path.exists()
    with path.with_suffix(".csv.part").open("a", encoding="utf-8") as part:
        part.write("cus_half,of a li")
    with Cstar() as client:
        assert export_all(client, box.team_id, path) < 350
        in_pages = path.read_text(encoding="utf-8")
        assert export_once(client, box.team_id, path) == 350
    assert path.read_text(encoding="utf-8") == in_pages
    assert [each.name for each in path.parent.iterdir()] == ["customers.csv"]


def test_export_csv_writes_the_given_file(box: Sandbox, path: Path) -> None:
    for options in ([], ["--once"]):
        done = run_program("export_csv.py", str(path), *options)
        assert (done.returncode, done.stdout, done.stderr) == (0, "30 customers\n", "")
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert len({row["id"] for row in rows}) == 30
        assert isinstance(json.loads(rows[0]["tags"]), list)


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_the_async_app_serves_customers(
    box: Sandbox, monkeypatch: pytest.MonkeyPatch, anyio_backend: str
) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    from async_app import app

    with Cstar() as client:
        customer = client.customers.list(box.team_id).data[0]
    http_client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app.test")
    async with app.router.lifespan_context(app), http_client:
        assert (await http_client.get(f"/customers/{customer.id}")).json()["email"] == customer.email
        found = await http_client.get("/customers", params={"search": customer.email})
        assert found.json() == {"total": 1, "names": [customer.name]}
        assert (await http_client.get("/customers/cus_nobody")).status_code == 404
        assert (await http_client.get("/customers/not%20an%20id")).status_code == 404
        box.stop()
        response = await http_client.get(f"/customers/{customer.id}")
        assert (response.status_code, response.json()) == (503, {"error": "Customers cannot be looked up right now."})
