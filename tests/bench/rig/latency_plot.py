"""latency_plot.py - latencies and goodput over the load, two modes of batching: the picture of batching.py."""

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

LOOKS = {"continuous": ("#0b6fb8", "o"), "request": ("#d1590f", "s")}


def draw(result, top, path):
    fig, axes = plt.subplots(2, 2, figsize=(11, 8), sharex=True)
    loads = [float(s) for s in result["loads"]]
    percent = [100 * x for x in loads]
    for ax, (name, text) in zip(axes.flat, result["classes"].items()):
        for mode, (color, marker) in LOOKS.items():
            for key, dash, width in (("p99_ms", "-", 2), ("p50_ms", ":", 1.5)):
                ax.plot(percent, [t[mode][name][key] for t in result["loads"].values()], dash, color=color, marker=marker,
                        lw=width, ms=5, label=f"{mode}, {key[:3]}")
        ax.set_yscale("log")
        ax.set_title(text, fontsize=11)
        ax.set_ylabel("latency from arrival, ms")
        ax.yaxis.set_major_formatter(matplotlib.ticker.FormatStrFormatter("%g"))
    axes.flat[0].legend(fontsize=9, loc="upper left")
    ax = axes.flat[3]
    ax.plot(percent, [x * top for x in loads], "--", color="#888888", lw=1, label="offered")
    for mode, (color, marker) in LOOKS.items():
        ax.plot(percent, [t[mode]["goodput_per_s"] for t in result["loads"].values()], color=color, marker=marker, lw=2,
                ms=5, label=mode)
    ax.set_ylim(bottom=0)
    ax.set_ylabel("per second")
    ax.set_title(f"goodput: answers within {result['within_ms']} ms", fontsize=11)
    ax.legend(fontsize=9, loc="upper left")
    for ax in axes.flat:
        ax.grid(True, which="major", alpha=0.3)
        ax.set_xticks(percent, [f"{p:.0f} %" for p in percent])
        ax.spines[["top", "right"]].set_visible(False)
    for ax in axes[1]:
        ax.set_xlabel("offered load, share of the capacity")
    fig.suptitle("Continuous against request-level batching: 1 x 256 LSTM, Poisson arrivals, open loop", fontsize=13)
    fig.tight_layout()
    fig.savefig(path, dpi=110)
    plt.close(fig)
