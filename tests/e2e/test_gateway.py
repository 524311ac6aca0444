# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gateway before an engine that serves, asked by the package openai and by odd requests, from another host.

HAProxy, systemd, openssl and the package are real; the engine is the lab's.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Iterator

import pytest

from . import doctor_faults
from .conftest import ROOT, SERVED, Pair, eventually, stocked, taken_down
from .gateway_pace import DIRECT, both_ways, held
from .gateway_pace import GATEWAY as THROUGH
from .state import BY_SERVING, Allowed, State, captured, differences
from .test_doctor import found, injected, looked
from .test_hf_cache import command_lines_with
from .test_serve_faults import inside
from .test_switch import B, with_models
from .test_two_spark_faults import INJECTED

pytestmark = pytest.mark.matrix

GATEWAY = {"spark_api_exposure": "key", "spark_model_alias": "chat"}
PLAY = "single_spark.yml"
CHAT = "/v1/chat/completions"
ODD = 10_000
ROUTE = re.compile("(http://[^/]*)?(/health|/v1/(models|(chat/)?completions))")
#: what a removed gateway leaves until the next boot
REMEMBERED = (
    Allowed(
        "units",
        r"(dgx-spark-gateway(-vlm)?|haproxy)\.service",
        "systemd knows units until it reads them again, which takes the GPUs from running containers",
    ),
)
#: what a supervisor and this test ask of the engine
ASKED = re.compile(r'"(GET /health|GET /v1/models|GET /metrics|POST /v1/(chat/)?completions) HTTP/1\.1"')


@dataclass
class Client:
    """Asks the gateway, as a program on another host does."""

    lab: Pair
    keys: Path
    port: int = 443
    folder: str = "spark1"  # of the keys of this gateway

    @property
    def address(self) -> str:
        return self.lab.hosts("spark1")["spark"]["hosts"]["spark1"]["ansible_host"]

    @property
    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.keys / self.folder / "ca.crt"))

    def key(self, name: str = "default") -> str:
        return (self.keys / self.folder / f"{name}.key").read_text().strip()

    def connection(self, seconds: float = 60) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(self.address, self.port, timeout=seconds, context=self.trust)

    def ask(self, method: str, path: str, key: str = "", body: Any = None) -> tuple[int, dict[str, str], str]:
        """Status, header in lower case, and text of an answer."""
        asked = self.connection()
        try:
            sent = json.dumps(body) if body is not None else None
            asked.request(method, path, sent, {"Authorization": f"Bearer {key}"} if key else {})
            reply = asked.getresponse()
            return reply.status, {name.lower(): value for name, value in reply.getheaders()}, reply.read().decode()
        finally:
            asked.close()

    def stream(self, key: str, **more: Any) -> str:
        """All text of a streamed answer. :raises http.client.HTTPException: where it was cut."""
        return self.ask("POST", CHAT, key, {**question(), "stream": True, **more})[2]


def question() -> dict[str, Any]:
    return {"model": "chat", "messages": [{"role": "user", "content": "Who are you?"}], "max_tokens": 40}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    one = stocked(tmp_path_factory.mktemp("gateway"), virtual_spark_count=1)
    one.variables["api_gateway_keys_dir"] = str(one.scratch / "keys")
    yield one
    taken_down(one)


@pytest.fixture(scope="module")
def before(lab: Pair) -> State:
    """What the Spark has while it serves without a gateway."""
    run = lab.serve(PLAY)
    assert run.status == "successful", run.said
    return captured(lab)


@pytest.fixture(scope="module")
def client(lab: Pair, before: State) -> Client:
    """A gateway with the key of its first client, as a dry run has foretold it."""
    foretold = lab.serve(PLAY, check=True, **GATEWAY)
    assert foretold.status == "successful", foretold.said
    run = lab.serve(PLAY, **GATEWAY)
    assert run.status == "successful", run.said
    planned = foretold.planned()["spark1"]
    assert {"Create the first API key", "Start the gateway", "Write the gateway's configuration"} <= planned
    assert planned <= run.made()["spark1"] | {"Install HAProxy"}
    return Client(lab, Path(lab.variables["api_gateway_keys_dir"]))


@pytest.fixture(scope="module")
def openai(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has the package."""
    home = tmp_path_factory.mktemp("openai")
    subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
    subprocess.run([str(home / "bin/pip"), "install", "--quiet", "openai"], check=True)
    return home / "bin/python"


@contextmanager
def slow(lab: Pair, seconds: float) -> Iterator[None]:
    """A token takes so long."""
    spark = lab.host("spark1")
    spark.check_output(inside(f"mkdir -p {INJECTED} && echo {seconds} > {INJECTED}/slow-tokens"))
    try:
        yield
    finally:
        spark.run(inside(f"rm -rf {INJECTED}"))


def run_with(python: Path, program: str, client: Client, key: str = "default") -> str:
    """What a program of somebody's prints, with the gateway's address in its environment."""
    settings = {
        "SPARK": f"https://{client.address}:{client.port}/v1",
        "SPARK_CA": str(client.keys / "spark1" / "ca.crt"),
        "SPARK_KEY_FILE": str(client.keys / "spark1" / f"{key}.key"),
    }
    done = subprocess.run(
        [str(python), "-c", program], env={**os.environ, **settings}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_second_run_changes_nothing(client: Client) -> None:
    again = client.lab.serve(PLAY, **GATEWAY)
    assert (again.status, again.changed) == ("successful", {}), again.said
    foretold = client.lab.serve(PLAY, check=True, **GATEWAY)
    assert (foretold.status, foretold.planned()) == ("successful", {}), foretold.said


def test_the_documented_program_streams(client: Client, openai: Path) -> None:
    program = re.search(r"```python\n(.*?)```", (ROOT / "docs" / "clients.md").read_text(), re.DOTALL)
    assert program
    assert "SIMULATED" in run_with(openai, program[1], client)


TRY_ALL = """
import json, os, ssl
from pathlib import Path
import openai

def client(key):
    trust = ssl.create_default_context(cafile=os.environ["SPARK_CA"])
    return openai.OpenAI(base_url=os.environ["SPARK"], api_key=key, max_retries=0,
                         http_client=openai.DefaultHttpxClient(verify=trust))

one = client(Path(os.environ["SPARK_KEY_FILE"]).read_text().strip())
asked = {"messages": [{"role": "user", "content": "Who are you?"}], "max_tokens": 40}
tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
by_name = {name: one.chat.completions.create(model=name, **asked) for name in ("chat", "lab/tiny-chat")}
parts = list(one.chat.completions.create(model="chat", stream=True, stream_options={"include_usage": True}, **asked))
tools = one.chat.completions.create(model="chat", tools=[tool], **asked)
refused = {}
for name, ask in {
    "key": lambda: client("sk-no").models.list(),
    "route": lambda: one.files.list(),
}.items():
    try:
        ask()
    except openai.APIStatusError as error:
        refused[name] = [type(error).__name__, error.code]
print(json.dumps({
    "models": [model.id for model in one.models.list()],
    "said": {name: reply.choices[0].message.content for name, reply in by_name.items()},
    "names": [reply.model for reply in by_name.values()],
    "streamed": "".join(part.choices[0].delta.content or "" for part in parts if part.choices),
    "usage": [part.usage.completion_tokens for part in parts if part.usage],
    "tools": tools.choices[0].message.content,
    "refused": refused,
}))
"""


def test_the_package_chats_streams_passes_tools_and_knows_the_errors(client: Client, openai: Path) -> None:
    said = json.loads(run_with(openai, TRY_ALL, client))
    assert said["models"] == ["chat", "lab/tiny-chat"] == said["names"]
    assert all("SIMULATED" in text for text in (*said["said"].values(), said["streamed"], said["tools"]))
    assert len(said["usage"]) == 1
    assert said["refused"] == {
        "key": ["AuthenticationError", "invalid_api_key"],
        "route": ["NotFoundError", "unknown_url"],
    }


def test_the_log_and_the_status_tell_what_each_client_asked(client: Client, tmp_path: Path) -> None:
    client.stream(client.key(), stream_options={"include_usage": True})
    client.ask("GET", "/v1/models", "sk-nobody-has-this-key")
    said = client.lab.host("spark1").check_output("sudo journalctl --unit dgx-spark-gateway --output cat")
    assert "Who are you" not in said
    assert "SIMULATED" not in said
    logged = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    answered = [line for line in logged if line["client"] == "default" and line["path"] == CHAT]
    last = answered[-1]
    assert (last["model"], last["status"], last["end"]) == ("lab/tiny-chat", 200, "--")
    assert int(last["tokens"]) > 0
    assert int(last["prompt_tokens"]) > 0
    assert 0 <= int(last["ttft_ms"]) <= last["ms"]

    path = tmp_path / "status.json"
    run = client.lab.play("status.yml", status_json=str(path))
    assert run.status == "successful", run.said
    (gateway,) = json.loads(path.read_text())["gateways"]
    assert (gateway["clients"], gateway["problem"]) == (None, "this user may not read the journal")
    run = client.lab.play("status.yml", status_json=str(path), ansible_become=True)
    assert run.status == "successful", run.said
    (gateway,) = json.loads(path.read_text())["gateways"]
    assert (gateway["host"], gateway["state"], gateway["listens"]) == ("spark1", "active", "0.0.0.0:443")
    told = {one["name"]: one for one in gateway["clients"]}
    recent = [line for line in logged if line["client"] == "default" and line["at"] > time.time() - 3000]
    assert told["default"]["requests"] >= len(recent) > 0
    assert told["default"]["tokens"] >= int(last["tokens"])
    assert told["default"]["ttft_ms"] <= told["default"]["slowest_ttft_ms"]
    assert told[""]["refused"] >= 1
    assert "GATEWAY without a name" in run.words


def test_a_revoked_key_is_refused_while_anothers_stream_goes_on(client: Client) -> None:
    lab = client.lab
    run = lab.play("api_keys.yml", api_key_add="alice", api_key_streams="2")
    assert run.status == "successful", run.said
    alice = client.key("alice")
    assert alice not in run.said
    assert client.ask("GET", "/v1/models", alice)[0] == 200
    streamed: list[tuple[float, str]] = []
    statuses: list[tuple[float, int]] = []
    stop = threading.Event()

    def stream() -> None:
        said = client.connection(300)
        said.request(
            "POST",
            CHAT,
            json.dumps({**question(), "stream": True}),
            {"Authorization": f"Bearer {client.key()}"},
        )
        streamed.append((time.monotonic(), ""))
        text = said.getresponse().read().decode()
        streamed.append((time.monotonic(), text))

    def poll() -> None:
        while not stop.is_set():
            statuses.append((time.monotonic(), client.ask("GET", "/v1/models", alice)[0]))
            time.sleep(0.1)

    with slow(lab, 3):
        programs = [threading.Thread(target=stream), threading.Thread(target=poll)]
        for program in programs:
            program.start()
        run = lab.play("api_keys.yml", api_key_revoke="alice")
        assert client.ask("GET", "/v1/models", alice)[0] == 401
        stop.set()
        for program in programs:
            program.join()
    assert run.status == "successful", run.said
    assert not (client.keys / "spark1" / "alice.key").exists()
    said = [status for _when, status in statuses]
    assert set(said) == {200, 401}
    assert said == sorted(said), "refused once and for all"
    refused = next(when for when, status in statuses if status == 401)
    assert streamed[0][0] < refused < streamed[1][0]
    assert "data: [DONE]" in streamed[1][1]


def test_each_limit_has_an_answer_of_its_own(client: Client) -> None:
    for name, limits in {
        "few": {"api_key_requests_per_minute": "2"},
        "one": {"api_key_streams": "1"},
        "other": {"api_key_models": "some/other"},
    }.items():
        run = client.lab.play("api_keys.yml", api_key_add=name, **limits)
        assert run.status == "successful", run.said
    few, one, other = (client.key(name) for name in ("few", "one", "other"))
    replies = [client.ask("GET", "/v1/models", few) for _ in range(3)]
    assert [reply[0] for reply in replies] == [200, 200, 429]
    assert int(replies[2][1]["retry-after"]) > 0
    assert json.loads(replies[2][2])["error"]["code"] == "rate_limit_exceeded"
    with slow(client.lab, 0.3):
        running = threading.Thread(target=client.stream, args=(one,))
        running.start()
        time.sleep(2)
        assert client.ask("POST", CHAT, one, question())[0] == 429
        running.join()
    assert client.ask("POST", CHAT, one, question())[0] == 200
    status, _header, text = client.ask("POST", CHAT, other, question())
    assert (status, json.loads(text)["error"]["code"]) == (403, "model_not_allowed")
    asked = client.connection()
    asked.putrequest("POST", CHAT)
    asked.putheader("Authorization", f"Bearer {client.key()}")
    asked.putheader("Content-Length", str(10**9))
    asked.endheaders()
    assert asked.getresponse().status == 413
    asked.close()


def odd(chance: random.Random, mark: str, key: str) -> bytes:
    """A request that no client makes, with a mark behind the path, which no allowed route is asked by."""
    routes = ["/metrics", "/health_generate", "/version", "/perf_metrics", "/update_weights", "/release_memory", "/"]
    routes += ["/v1/models", "/v1/chat/completions", "/v1/completions", "/docs", "/openapi.json"]
    path = chance.choice(routes)
    spell = [
        lambda text: "/" + text,
        lambda text: text + "/",
        lambda text: text + "//",
        lambda text: "/v1/.." + text,
        lambda text: "/." + text,
        lambda text: text.replace("/", "%2f", 1),
        lambda text: text.replace("e", "%65"),
        lambda text: text.swapcase(),
        lambda text: text + ";a=1",
        lambda text: text + "%00",
        lambda text: text + "%20",
        lambda text: text + "/../metrics",
        lambda text: "\\" + text,
        lambda text: "//spark1" + text,
        lambda text: text[1:],
        lambda text: "http://127.0.0.1:8355" + text + "/",
        lambda text: text + chance.choice("abcxyz."),
    ]
    path = chance.choice(spell)(path)
    while chance.random() < 0.5 or ROUTE.fullmatch(path):  # two of them may make a route again
        path = chance.choice(spell)(path)
    method = chance.choice(["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "get", "BREW"])
    version = chance.choice(["HTTP/1.1"] * 6 + ["HTTP/1.0", "HTTP/3.9", "http/1.1"])
    lines = [f"{method} {path}?{mark} {version}", f"Host: {chance.choice(['spark1', '127.0.0.1:8355', ''])}"]
    lines += [f"Authorization: Bearer {key}"] if chance.random() < 0.8 else []
    lines += chance.sample(
        [
            "X-Original-URL: /metrics",
            "X-HTTP-Method-Override: POST",
            "Upgrade: h2c",
            "Connection: Upgrade, HTTP2-Settings",
            "Expect: 100-continue",
            f"X-Long: {'a' * chance.choice([10, 4000, 20000])}",
            "Content-Length: 0",
        ],
        chance.randint(0, 3),
    )
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def answered(client: Client, trust: ssl.SSLContext, sent: bytes) -> int:
    """The status of the answer to these bytes, 0 for none."""
    plain = socket.create_connection((client.address, client.port), timeout=20)
    with trust.wrap_socket(plain, server_hostname=client.address) as secure:
        with suppress(OSError):
            secure.sendall(sent)
        with suppress(OSError):
            found = re.match(rb"HTTP/1\.[01] (\d{3}) ", secure.recv(64))
            return int(found[1]) if found else 0
    return 0


def engine_log(lab: Pair, since: str) -> list[str]:
    said = lab.host("spark1").check_output("sudo docker logs --since %s dgx-spark-trtllm 2>&1", since)
    return [line for line in said.splitlines() if " HTTP/1." in line]


def test_ten_thousand_odd_requests_do_not_reach_the_engine(client: Client) -> None:
    chance, key, mark = random.Random(20), client.key(), f"odd{random.SystemRandom().randrange(10**9)}"
    since = client.lab.host("spark1").check_output("date --utc +%Y-%m-%dT%H:%M:%SZ")
    every = [odd(chance, mark, key) for _ in range(ODD)]
    trust = client.trust
    statuses: dict[int, int] = {}
    lock = threading.Lock()

    def some(part: list[bytes]) -> None:
        for sent in part:
            status = answered(client, trust, sent)
            with lock:
                statuses[status] = statuses.get(status, 0) + 1

    threads = [threading.Thread(target=some, args=(every[number::4],)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(statuses.values()) == ODD
    assert set(statuses) <= {400, 404, 405}, statuses
    lines = engine_log(client.lab, since)
    assert not [line for line in lines if mark in line or not ASKED.search(line)]
    assert client.ask("POST", CHAT, key, question())[0] == 200
    # The judge sees what does reach the engine, once Docker has the line.
    eventually(lambda: any(CHAT in line for line in engine_log(client.lab, since)), True, 30)


def test_one_who_reads_a_byte_a_second_holds_up_nobody(client: Client) -> None:
    sleepers = []
    body = json.dumps({**question(), "stream": True}).encode()
    head = (
        f"POST {CHAT} HTTP/1.1\r\nHost: spark1\r\nAuthorization: Bearer {client.key()}\r\nContent-Length: {len(body)}"
    )
    try:
        for _ in range(20):
            plain = socket.create_connection((client.address, client.port), timeout=20)
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            sleepers.append(client.trust.wrap_socket(plain, server_hostname=client.address))
            sleepers[-1].sendall(f"{head}\r\n\r\n".encode() + body)
        for _ in range(10):
            for sleeper in sleepers:
                assert sleeper.recv(1)
            time.sleep(1)
            assert "data: [DONE]" in client.stream(client.key())
    finally:
        for sleeper in sleepers:
            sleeper.close()


def test_an_engine_that_dies_cuts_the_stream_and_503_says_why(client: Client) -> None:
    lab, key = client.lab, client.key()
    ended: list[str] = []

    def stream() -> None:
        try:
            ended.append(client.stream(key))
        except (http.client.HTTPException, OSError) as error:
            ended.append(type(error).__name__)

    with slow(lab, 1):
        program = threading.Thread(target=stream)
        program.start()
        time.sleep(4)
        lab.host("spark1").check_output("sudo docker kill --signal KILL dgx-spark-trtllm")
        program.join()
    assert ended == ["IncompleteRead"], "a cut answer is none"
    seen: dict[int, tuple[dict[str, str], str]] = {}

    def serves() -> bool:
        status, header, text = client.ask("POST", CHAT, key, question())
        seen[status] = (header, text)
        return status == 200 and json.loads(text)["choices"][0]["finish_reason"] == "stop"

    eventually(serves, True, 180)
    assert set(seen) <= {200, 502, 503}
    assert int(seen[503][0]["retry-after"]) > 0


def test_stopped_says_so_to_who_has_a_key(client: Client) -> None:
    lab = client.lab
    run = lab.play("stop.yml")
    assert run.status == "successful", run.said
    eventually(lambda: client.ask("GET", "/health")[0], 503)
    status, header, text = client.ask("POST", CHAT, client.key(), question())
    assert (status, header["retry-after"]) == (503, "60")
    assert "stopped" in json.loads(text)["error"]["message"]
    assert client.ask("POST", CHAT, "", question())[0] == 401
    run = lab.play("start.yml")
    assert run.status == "successful", run.said
    eventually(lambda: client.ask("POST", CHAT, client.key(), question())[0], 200)


@pytest.fixture(scope="module")
def usual(client: Client) -> set[str]:
    """What the doctor finds on a Spark that serves behind a sound gateway."""
    return set(found(looked(client.lab)))


def test_a_sound_gateway_has_no_finding(usual: set[str]) -> None:
    assert not [name for name in usual if name.startswith("gateway")]


@pytest.mark.parametrize("fault", doctor_faults.GATEWAY.values(), ids=doctor_faults.GATEWAY)
def test_the_doctor_finds_what_is_wrong_with_a_gateway(
    client: Client, usual: set[str], fault: doctor_faults.Fault
) -> None:
    run = injected(client.lab, fault, usual)
    if fault.treat:
        left = run.results("Show what is left")["localhost"]
        assert f"{fault.treat} on spark1" in left["mended"]
    eventually(lambda: client.ask("GET", "/health")[0], 200)


def test_nothing_is_left_of_what_was_injected(client: Client, usual: set[str]) -> None:
    assert set(found(looked(client.lab))) <= usual
    again = client.lab.serve(PLAY, **GATEWAY)
    assert (again.status, again.changed) == ("successful", {}), again.said


def test_a_certificate_that_is_about_to_end_is_renewed_and_no_stream_is_cut(client: Client) -> None:
    lab = client.lab
    shorter = {
        "name": "Make a certificate that ends soon",
        "sparkops.dgx_spark.gateway_certificate": {
            "names": [client.address, "spark1"],
            "days": 10,
            "renew_days": 1000,
        },
        "become": True,
    }
    run = lab.play([{"hosts": "spark1", "gather_facts": False, "tasks": [shorter]}])
    assert run.status == "successful", run.said
    lab.host("spark1").check_output("sudo systemctl reload dgx-spark-gateway")
    eventually(lambda: days_left(client) <= 10, True)
    foretold = lab.serve(PLAY, check=True, **GATEWAY)
    renewed = {"Create the gateway's certificate", "Reload the gateway"}
    streamed: list[str] = []
    more = {"max_tokens": 1000, "ignore_eos": True}
    program = threading.Thread(target=lambda: streamed.append(client.stream(client.key(), **more)))
    with slow(lab, 2):
        program.start()
        run = lab.serve(PLAY, **GATEWAY)
        assert program.is_alive(), "the stream goes on while the certificate is renewed"
    program.join()
    assert run.status == "successful", run.said
    assert foretold.planned()["spark1"] == renewed
    assert run.made()["spark1"] == renewed
    assert "data: [DONE]" in streamed[0]
    assert days_left(client) > 390, "and the clients trust it as before"
    again = lab.serve(PLAY, **GATEWAY)
    assert (again.status, again.changed) == ("successful", {}), again.said


def days_left(client: Client) -> float:
    """For how many days the certificate is good that the gateway shows."""
    plain = socket.create_connection((client.address, client.port), timeout=20)
    with client.trust.wrap_socket(plain, server_hostname=client.address) as secure:
        shown = secure.getpeercert()
    assert shown
    return (ssl.cert_time_to_seconds(str(shown["notAfter"])) - time.time()) / 86400


def test_tokens_come_through_as_soon_as_without(client: Client) -> None:
    authority = (client.keys / "spark1" / "ca.crt").read_text()
    with slow(client.lab, 0.03):
        paces = both_ways(client.lab, client.key(), authority)
    print(json.dumps({name: asdict(one) for name, one in paces.items()}))
    without, through = paces[DIRECT], paces[THROUGH]
    assert (without.requests, through.requests) == (200, 200)
    assert through.first[0] - without.first[0] < 5
    assert through.between[0] - without.between[0] < 5
    assert through.longest[0] - without.longest[0] < 5, "no token is kept back until others come"


def test_200_streams_are_held_for_a_minute(client: Client) -> None:
    lab = client.lab
    many = {"trtllm_serve_arguments": {"max_batch_size": 256, "max_num_tokens": 8192}}
    run = lab.serve(PLAY, **GATEWAY, **many)
    assert run.status == "successful", run.said
    late: list[float] = []
    stop = threading.Event()

    def poll() -> None:
        while not stop.wait(1):
            began = time.monotonic()
            assert client.ask("GET", "/v1/models", client.key())[0] == 200
            late.append(time.monotonic() - began)

    poller = threading.Thread(target=poll)
    with slow(lab, 1):
        poller.start()
        told = held(lab, client.address, client.port, client.trust, client.key(), streams=200, tokens=64)
        stop.set()
        poller.join()
    print(json.dumps({**asdict(told), "others_ms": round(sorted(late)[len(late) // 2] * 1e3, 1)}))
    assert (told.streams, told.cut, told.at_once) == (200, 0, 200)
    assert told.seconds >= 60
    assert len(late) > 40, "others are answered meanwhile"
    run = lab.serve(PLAY, **GATEWAY)
    assert run.status == "successful", run.said


def test_another_instance_has_a_gateway_of_its_own(client: Client) -> None:
    """Before the same engine, so that nothing but the gateway is another."""
    lab = client.lab
    role = "sparkops.dgx_spark.api_gateway"
    play = {"hosts": "spark", "gather_facts": False}
    main = [{**play, "tasks": [{"name": "Serve", "ansible.builtin.import_role": {"name": role}}]}]
    undo = [{**play, "tasks": [{"name": "Undo", "ansible.builtin.import_role": {"name": role, "tasks_from": "undo"}}]}]
    other = {**SERVED, **GATEWAY, "spark_instance": "vlm", "spark_model": B}
    taken = lab.play(main, **other)
    assert (taken.status, taken.changed) == ("failed", {})
    assert "port 443 is taken by haproxy" in taken.words
    assert "Nothing was changed" in taken.words
    run = lab.play(main, **other, spark_gateway_port=8443)
    assert run.status == "successful", run.said
    beside = Client(lab, client.keys, 8443, "spark1-vlm")
    listed = json.loads(beside.ask("GET", "/v1/models", beside.key())[2])
    assert [one["id"] for one in listed["data"]] == ["chat", B]
    assert beside.ask("GET", "/v1/models", client.key())[0] == 401, "a key is one gateway's"
    assert client.ask("GET", "/v1/models", client.key())[0] == 200
    again = lab.play(main, **other, spark_gateway_port=8443)
    assert (again.status, again.changed) == ("successful", {}), again.said
    gone = lab.play(undo, **other)
    assert gone.status == "successful", gone.said
    assert not (client.keys / "spark1-vlm").exists()
    assert not lab.host("spark1").file("/etc/dgx-spark/gateway-vlm").exists
    assert client.ask("GET", "/v1/models", client.key())[0] == 200
    kept = lab.serve(PLAY, **GATEWAY)
    assert (kept.status, kept.changed) == ("successful", {}), kept.said


def test_no_key_is_where_it_may_be_read(client: Client) -> None:
    lab, key = client.lab, "sk-" + "".join(random.SystemRandom().choices("abcdefghkmnp23456789", k=40))
    shown: set[str] = set()
    stop = threading.Event()
    sampler = threading.Thread(target=command_lines_with, args=(key, shown, stop))
    # By a file of the owner's: extra variables of a run are on its command line.
    inventory = lab.hosts("spark1")
    inventory["spark"]["vars"]["spark_api_clients"] = [{"name": "carol", "key": key}]
    sampler.start()
    run = lab.serve(PLAY, inventory=inventory, **GATEWAY)
    status = client.ask("GET", "/v1/models", key)[0]
    stop.set()
    sampler.join()
    assert run.status == "successful", run.said
    assert (status, shown) == (200, set())
    spark = lab.host("spark1")
    for secret in (key, client.key()):
        assert secret not in run.said
        assert secret not in str(run.events)
        looked = spark.run(
            "echo %s | sudo grep -rlF --devices=skip --file=- /etc /home /opt /root /run /tmp /var", secret
        )
        assert looked.stdout == ""
        inspect = "sudo docker ps --all --quiet | xargs sudo docker inspect"
        assert secret not in spark.check_output(f"{inspect}; sudo journalctl --quiet --boot")
    readable = "sudo find /etc/dgx-spark/gateway -type f -perm /077 -printf '%f\\n'"
    assert set(spark.check_output(readable).split()) == {"haproxy.cfg", "gateway.lua", "ca.crt"}


def test_a_certificate_of_ones_own_and_then_loopback(client: Client, tmp_path: Path) -> None:
    lab = client.lab
    cert, private = tmp_path / "own.crt", tmp_path / "own.key"
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    make += ["-days", "30", "-subj", "/CN=own", "-addext", f"subjectAltName=IP:{client.address}"]
    subprocess.run([*make, "-keyout", str(private), "-out", str(cert)], check=True, capture_output=True)
    inventory = lab.hosts("spark1")
    inventory["spark"]["vars"].update(
        api_gateway_tls="own",
        api_gateway_certificate=cert.read_text(),
        api_gateway_certificate_key=private.read_text(),
    )
    run = lab.serve(PLAY, inventory=inventory, **GATEWAY)
    assert run.status == "successful", run.said
    asked = http.client.HTTPSConnection(
        client.address, 443, timeout=20, context=ssl.create_default_context(cafile=str(cert))
    )
    asked.request("GET", "/v1/models", headers={"Authorization": f"Bearer {client.key()}"})
    assert asked.getresponse().status == 200
    asked.close()
    assert private.read_text().splitlines()[1] not in run.said


def test_open_warns_and_asks_for_no_key_and_ufw_lets_in_who_is_named(client: Client) -> None:
    lab = client.lab
    sources = [client.address.rsplit(".", 1)[0] + ".0/24"]
    more = {"spark_model_alias": "chat", "api_gateway_firewall": "ufw", "api_gateway_sources": sources}
    run = lab.serve(PLAY, spark_api_exposure="open", **more)
    assert run.status == "successful", run.said
    assert client.ask("GET", "/v1/models")[0] == 200
    assert client.ask("GET", "/metrics")[0] == 404
    assert "open" in run.words
    rules = lab.host("spark1").check_output("sudo cat /etc/ufw/user.rules")
    assert sources[0] in rules


def test_without_tls_only_loopback_listens(client: Client) -> None:
    lab = client.lab
    refused = lab.serve(PLAY, **GATEWAY, api_gateway_tls="none")
    assert refused.status == "failed"
    assert "Nothing was changed" in refused.words
    run = lab.serve(PLAY, **GATEWAY, api_gateway_tls="none", api_gateway_address="127.0.0.1", api_gateway_port=8080)
    assert run.status == "successful", run.said
    ask = "curl --silent --output /dev/null --write-out '%{http_code}' http://127.0.0.1:8080/v1/models"
    assert lab.host("spark1").check_output(ask) == "401"
    listens = lab.host("spark1").check_output("sudo ss --no-header -ltnp | grep haproxy")
    assert "127.0.0.1:8080" in listens
    assert ":443" not in listens


def test_back_to_loopback_and_nothing_is_left(client: Client, before: State) -> None:
    lab = client.lab
    run = lab.serve(PLAY, spark_api_exposure="loopback")
    assert run.status == "successful", run.said
    assert run.made()["spark1"] >= {"Remove the gateway"}
    again = lab.serve(PLAY, spark_api_exposure="loopback")
    assert (again.status, again.changed) == ("successful", {}), again.said
    undo = [
        {
            "name": "Undo",
            "ansible.builtin.import_role": {"name": "sparkops.dgx_spark.api_gateway", "tasks_from": "undo"},
        }
    ]
    run = lab.play([{"hosts": "spark", "gather_facts": False, "tasks": undo}], api_gateway_undo_packages=True)
    assert run.status == "successful", run.said
    assert not (client.keys / "spark1").exists()
    assert differences(before, captured(lab), BY_SERVING, REMEMBERED) == []


def test_an_alias_outlives_a_switch_of_the_model(client: Client) -> None:
    lab = with_models(client.lab)
    run = lab.serve(PLAY, **GATEWAY)
    assert run.status == "successful", run.said
    key = client.key()
    seen: list[tuple[int, dict[str, str], str]] = []
    stop = threading.Event()

    def poll() -> None:
        while not stop.wait(0.3):
            with suppress(OSError, http.client.HTTPException):
                seen.append(client.ask("POST", CHAT, key, {**question(), "max_tokens": 4}))

    poller = threading.Thread(target=poll)
    poller.start()
    run = lab.serve("switch_model.yml", **{**GATEWAY, "spark_model": B})
    stop.set()
    poller.join()
    assert run.status == "successful", run.said
    statuses = {status for status, _header, _text in seen}
    assert statuses <= {200, 502, 503}
    assert statuses >= {200, 503}
    for status, header, text in seen:
        said = json.loads(text)
        if status == 200:
            assert said["choices"][0]["finish_reason"] in ("stop", "length"), "no success that was none"
        else:
            assert int(header["retry-after"]) > 0
    reasons = {json.loads(text)["error"]["message"] for status, _header, text in seen if status == 503}
    assert any("does not serve" in reason for reason in reasons), reasons
    status, _header, text = client.ask("POST", CHAT, key, question())
    assert (status, json.loads(text)["model"]) == (200, "chat")
    listed = json.loads(client.ask("GET", "/v1/models", key)[2])
    assert [one["id"] for one in listed["data"]] == ["chat", B]
    tail = "sudo journalctl --unit dgx-spark-gateway --output cat --lines 50"
    eventually(lambda: B.replace("/", "\\/") in lab.host("spark1").check_output(tail), True, 20)
    back = lab.serve(PLAY, **GATEWAY)
    assert back.status == "successful", back.said


def test_undo_takes_the_gateway_away_before_what_it_serves(client: Client) -> None:
    lab = client.lab
    run = lab.serve(PLAY, **GATEWAY)
    assert run.status == "successful", run.said
    run = lab.play("undo.yml", **SERVED, spark_undo_packages=True, spark_undo_model=True)
    assert run.status == "successful", run.said
    order = [event["event_data"]["task"] for event in run.events if event["event"] == "runner_on_ok"]
    names = [name.rpartition(" : ")[2] for name in order]
    serving = names.index("undo | Read what is left of the serving on this host")
    assert names.index("remove | Remove the gateway") < serving
    spark = lab.host("spark1")
    for path in ("/etc/dgx-spark", "/var/lib/dgx-spark", "/etc/haproxy", "/run/dgx-spark-gateway"):
        assert not spark.file(path).exists, path
    assert not spark.file("/etc/systemd/system/dgx-spark-gateway.service").exists
    assert not spark.package("haproxy").is_installed
    assert not (client.keys / "spark1").exists()
    again = lab.play("undo.yml", **SERVED, spark_undo_packages=True, spark_undo_model=True)
    assert (again.status, again.changed) == ("successful", {}), again.said
