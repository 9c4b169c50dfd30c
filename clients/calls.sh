#!/bin/sh
# calls.sh [URL] - a tour of recurd with curl. Start the server first: ./dev run
set -eu
url=${1:-http://127.0.0.1:8000}

# -f: an HTTP error ends the script. Without it curl shows the error object of the server.
get() {
    echo "== GET $1"
    curl -fsS "$url$1"
    echo
}

post() {
    echo "== POST $1"
    curl -fsS -X POST "$url$1" --data "$2"
    echo
}

# Alive? Ready to answer (all models loaded and warm)?
get /v2/health/live
get /v2/health/ready

# Who are you, and what do you serve?
get /v2
post /v2/repository/index ''

# What does a model want? Names, datatypes and shapes; -1 is a size that each request chooses.
get /v2/models/sunspots

# Two years of monthly sunspot numbers: shape [batch, time, 1]. The next twelve months come back.
post /v2/models/sunspots/infer '{"inputs": [{"name": "series", "datatype": "FP32", "shape": [1, 24, 1],
  "data": [114, 141.3, 135.5, 156.4, 127.5, 90, 143.8, 158.7, 167.3, 162.4, 137.5, 150.1,
           111.2, 163.6, 153.8, 122, 82.2, 110.4, 106.1, 107.6, 118.8, 94.7, 98.1, 127]}]}'

# "data" may be nested as well, an id comes back, and "outputs" chooses among the outputs.
post /v2/models/sunspots/infer '{"id": "second", "outputs": [{"name": "forecast"}],
  "inputs": [{"name": "series", "datatype": "FP32", "shape": [2, 3, 1],
              "data": [[[90], [85], [80]], [[10], [12], [15]]]}]}'

# Long bodies can travel compressed, there and back.
echo '== POST /v2/models/sunspots/infer, gzip'
echo '{"inputs": [{"name": "series", "datatype": "FP32", "shape": [1, 2, 1], "data": [90, 85]}]}' |
    gzip -c |
    curl -fsS --compressed "$url/v2/models/sunspots/infer" -H 'Content-Encoding: gzip' --data-binary @-
echo

# A mistake is answered with 400 and says what is wrong (no -f here, to see it).
echo '== a mistake'
curl -sS -w '\nstatus %{http_code}\n' "$url/v2/models/sunspots/infer" --data '{
  "inputs": [{"name": "series", "datatype": "FP32", "shape": [1, 3, 1], "data": [90, 85]}]}'

# Load a model again after its files have changed.
post /v2/repository/models/sunspots/load ''

# Counters: per model, and everything for Prometheus.
get /v2/models/sunspots/stats
echo '== GET /metrics (the first lines)'
curl -fsS "$url/metrics" | sed -n 1,5p
