"""/metrics through prometheus_client's own parser."""

import urllib.request

import numpy
from prometheus_client.parser import text_string_to_metric_families
from tritonclient.http import InferenceServerClient

import messages
from checks import equal, expect


def run(report, site):
    report.run("metrics.parse", parse, site)
    report.run("metrics.histograms", histograms, site)
    report.run("metrics.counters_rise", counters_rise, site)


def families(site):
    with urllib.request.urlopen(f"http://{site.url}/metrics", timeout=120) as answer:
        equal(answer.status, 200, "status")
        kind = answer.headers["Content-Type"]
        expect(kind.startswith("text/plain") and "version=0.0.4" in kind, f"content type {kind}")
        text = answer.read().decode()
    expect(text.endswith("\n"), "the page does not end with a line end")
    return list(text_string_to_metric_families(text))


def parse(site):
    found = families(site)
    names = [f.name for f in found]
    equal(len(names), len(set(names)), "families, each named once")
    expect(any(n.startswith("recurd_") for n in names), "no recurd_ family")
    expect(any(n.startswith("process_") for n in names), "no process_ family")
    for family in found:
        expect(family.type != "unknown" and family.documentation, f"{family.name} lacks its type or help")
        series = [(s.name, tuple(sorted(s.labels.items()))) for s in family.samples]
        equal(len(series), len(set(series)), f"series of {family.name}, each once")


def histograms(site):
    """Buckets rise, end with +Inf, and +Inf equals the count."""
    seen = 0
    for family in families(site):
        if family.type != "histogram":
            continue
        groups, counts = {}, {}
        for s in family.samples:
            labels = tuple(sorted((k, v) for k, v in s.labels.items() if k != "le"))
            if s.name.endswith("_bucket"):
                groups.setdefault(labels, []).append((float(s.labels["le"]), s.value))
            elif s.name.endswith("_count"):
                counts[labels] = s.value
        for labels, buckets in groups.items():
            expect(buckets == sorted(buckets), f"{family.name}{labels}: buckets out of order")
            expect(all(a[1] <= b[1] for a, b in zip(buckets, buckets[1:])), f"{family.name}{labels}: buckets fall")
            equal(buckets[-1], (float("inf"), counts[labels]), f"last bucket of {family.name}{labels}")
            seen += 1
    expect(seen, "no histogram has a series")


def _total(site, model):
    """Sum of every counter sample that names the model."""
    return {s.name: s.value for f in families(site) if f.type == "counter" for s in f.samples
            if model in s.labels.values() and s.name.endswith("_total")}


def counters_rise(site):
    before = _total(site, "mixed")
    with InferenceServerClient(site.url) as client:
        for _ in range(5):
            client.infer("mixed", messages.inputs({"a": numpy.zeros((1, 3), "float32"), "k": numpy.zeros((1, 1), "int64")}))
    after = _total(site, "mixed")
    expect(after, "no counter names the model")
    expect(all(after[n] >= before.get(n, 0) for n in after), "a counter fell")
    expect(any(after[n] - before.get(n, 0) == 5 for n in after), f"no counter rose by 5: {before} -> {after}")
