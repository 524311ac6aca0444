#!/usr/bin/env bash
# AIPerf: a stream that ends in the middle, without [DONE] and without a word, counts as a request that was answered, and as a fast one.
#
# Package: aiperf==0.13.0 (1.2 GB with what it needs).
# Expected: of an endpoint that ends every other answer after 3 of 10 tokens, with neither a finish_reason nor [DONE], half of the requests are
#   errors, or the run says that answers were shorter than asked for.
# Seen: exit status 0, no error; request_error_rate and osl_mismatch_count are 0. All requests count, and those that were cut have the lower
#   latencies, so that such an endpoint looks faster than a whole one. With --use-server-token-count, the cut ones have no output_sequence_length
#   in profile_export.jsonl.
# What follows: judge each record of profile_export.jsonl by the number of its tokens, and take no exit status for success.
set -eu

scratch=$(mktemp -d)
trap 'kill "${server:-}" 2>/dev/null || true; rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet --disable-pip-version-check aiperf==0.13.0 2>"$scratch/pip.log" || { cat "$scratch/pip.log" >&2; exit 1; }
"$scratch/venv/bin/pip" list 2>"$scratch/pip.log" | grep '^aiperf '

cat >"$scratch/tokenizer.py" <<'PY'
import json, pathlib, sys
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

folder = pathlib.Path(sys.argv[1])
folder.mkdir()
made = Tokenizer(models.BPE())
made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=["<s>", "</s>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
made.train_from_iterator(["the cat and the dog have found that all was well"], trainer)
made.save(str(folder / "tokenizer.json"))
about = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>", "model_max_length": 4096}
(folder / "tokenizer_config.json").write_text(json.dumps(about))
PY
"$scratch/venv/bin/python" "$scratch/tokenizer.py" "$scratch/tiny"

cat >"$scratch/server.py" <<'PY'
import itertools, json, pathlib, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

numbers = itertools.count(1)


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *words):
        pass

    def piece(self, text):
        data = text.encode()
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def event(self, **told):
        self.piece("data: " + json.dumps({"id": "a", "object": "chat.completion.chunk", "created": 1, "model": "m", **told}) + "\n\n")

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        tokens = asked.get("max_completion_tokens") or asked["max_tokens"]
        whole = next(numbers) % 2 == 1
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for _token in range(tokens if whole else 3):
            time.sleep(0.05)
            self.event(choices=[{"index": 0, "delta": {"content": "the "}, "finish_reason": None}])
        if whole:
            self.event(choices=[{"index": 0, "delta": {}, "finish_reason": "length"}])
            self.event(choices=[], usage={"prompt_tokens": 16, "completion_tokens": tokens, "total_tokens": 16 + tokens})
            self.piece("data: [DONE]\n\n")
        self.piece("")  # the stream's end, as HTTP wants it


server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
pathlib.Path(sys.argv[1]).write_text(str(server.server_address[1]))
server.serve_forever()
PY
python3 "$scratch/server.py" "$scratch/port" &
server=$!
while [ ! -s "$scratch/port" ]; do sleep 0.1; done

status=0
mkdir "$scratch/t" # TMPDIR: it leaves files there
env -u HF_HUB_OFFLINE -u TRANSFORMERS_OFFLINE TMPDIR="$scratch/t" timeout --kill-after=10 300 "$scratch/venv/bin/aiperf" profile \
  --model m --url "http://127.0.0.1:$(cat "$scratch/port")" --endpoint-type chat --streaming --concurrency 1 --request-count 8 --isl 16 --osl 10 \
  --extra-inputs ignore_eos:true --use-server-token-count --tokenizer "$scratch/tiny" --ui none --no-gpu-telemetry --no-server-metrics \
  --num-dataset-entries 8 --random-seed 1 --output-artifact-dir "$scratch/out" >"$scratch/said" 2>&1 || status=$?

cat >"$scratch/tell.py" <<'PY'
import json, pathlib, sys

out, status = pathlib.Path(sys.argv[1]), int(sys.argv[2])
told = json.loads((out / "profile_export_aiperf.json").read_text())
records = [json.loads(line) for line in (out / "profile_export.jsonl").read_text().splitlines()]
count, errors, short = (told[name]["avg"] for name in ("request_count", "request_error_rate", "osl_mismatch_count"))
latencies = {True: [], False: []}
for one in records:
    whole = "output_sequence_length" in one["metrics"]
    latencies[whole].append(one["metrics"]["request_latency"]["value"])
print(f"exit status {status}, {count:.0f} requests counted, {errors:.0f} % errors, {short:.0f} too short, {told['request_latency']['avg']:.0f} ms on average")
for whole, found in latencies.items():
    print(f"{len(found)} with{'' if whole else 'out'} a number of tokens: {sum(found) / max(1, len(found)):.0f} ms on average")
same = status == 0 and count == 8 and not errors and not short and len(latencies[False]) == 4 and max(latencies[False]) < min(latencies[True])
same = same and not any(one.get("error") for one in records)
sys.exit(0 if same else "the behaviour changed")
PY
python3 "$scratch/tell.py" "$scratch/out" "$status" || { tail -n 20 "$scratch/said" >&2; exit 1; }
