"""train.py - how many sunspots in each of the next 12 months? A GRU over the monthly series."""
import csv
import pathlib
import sys

import numpy as np
import torch
from torch import nn
from torch.nn import functional

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import recipe  # noqa: E402

HORIZON = 12  # months that are forecast
CYCLE = 132  # months: the 11 years of the seasonal-naive baseline
SCALE = 100.0  # brings sunspot numbers to about 1
LAYERS, HIDDEN, DROPOUT = 1, 48, 0.2
WINDOW, WARM_UP = 264, 48  # months a training sequence has, months of it without loss
CONTEXT = 264  # months that precede a forecast when it is measured
STRETCH = 0.5  # training sequences are multiplied by exp(-STRETCH..STRETCH): cycles differ in height
BATCH, UPDATES, EPOCHS, PATIENCE = 16, 20, 40, 40  # an epoch is so many updates
LEARNING_RATE, WEIGHT_DECAY, CLIP = 3e-3, 0.01, 1.0
VALIDATION, TEST = 0.1, 0.2  # parts of the series, at its end


class SunspotGru(nn.Module):
    """GRU over the square roots of the sunspot numbers (their noise grows with them), Linear."""

    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(1, HIDDEN, LAYERS, batch_first=True,
                          dropout=DROPOUT if LAYERS > 1 else 0)
        self.dropout = nn.Dropout(DROPOUT)
        self.linear = nn.Linear(HIDDEN, HORIZON)

    def head(self, hidden):
        """hidden [..., hidden] -> sunspot numbers [..., horizon], never negative."""
        return SCALE * functional.softplus(self.linear(self.dropout(hidden)))

    def read(self, series):
        """series [batch, time, 1] -> hidden states [batch, time, hidden], [layers, batch, hidden]."""
        return self.gru((series.clamp(min=0) / SCALE).sqrt())

    def forward_all(self, series):
        """series [batch, time, 1] -> forecasts after each month [batch, time, horizon]."""
        return self.head(self.read(series)[0])

    def forward(self, series):
        """series [batch, time, 1] -> the forecast after the last month [batch, horizon]."""
        return self.head(self.read(series)[1][-1])


def read_series(path):
    """The second column: one number a month, below a heading."""
    with path.open(newline="") as file:
        return torch.tensor([float(row[1]) for row in list(csv.reader(file))[1:]])


def windows(series, origins, before, after):
    """The `before` months up to each origin (inclusive) and the `after` months behind it."""
    origins = torch.as_tensor(origins)[:, None]
    return (series[origins + torch.arange(1 - before, 1)],
            series[origins + torch.arange(1, after + 1)])


def rolling_origins(start, end):
    """Last known month of each forecast that lies wholly within the months start..end-1."""
    return range(start - 1, end - HORIZON)


def predict(model, series, origins):
    past, future = windows(series, origins, CONTEXT, HORIZON)
    model.eval()
    with torch.no_grad():
        return model(past.unsqueeze(2)), future


def errors(forecast, truth):
    """Root of the mean squared error, and mean absolute error, over all origins and months."""
    return (forecast - truth).square().mean().sqrt().item(), (forecast - truth).abs().mean().item()


def train(model, series, training, validation):
    """Learn from the months before `training`, stop by those before `validation`."""
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, EPOCHS * UPDATES)
    offsets = torch.arange(WARM_UP, WINDOW)[:, None] + torch.arange(1, HORIZON + 1)

    def train_epoch(_):
        total = 0
        for _ in range(UPDATES):
            starts = torch.randint(training - WINDOW - HORIZON, (BATCH, 1))
            heights = torch.empty(BATCH, 1, 1).uniform_(-STRETCH, STRETCH).exp()
            past = series[starts + torch.arange(WINDOW)].unsqueeze(2) * heights
            future = series[starts.unsqueeze(2) + offsets] * heights
            loss = functional.mse_loss(model.forward_all(past)[:, WARM_UP:] / SCALE, future / SCALE)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            optimizer.step()
            schedule.step()
            total += loss.item()
        return (total / UPDATES) ** 0.5 * SCALE

    return recipe.fit(model, EPOCHS, train_epoch, lambda: errors(*predict(
        model, series, rolling_origins(training, validation)))[0], PATIENCE)


def linear_regression(series, origins, end, lags):
    """Forecasts by least squares on the last `lags` months, learnt from the months before `end`."""
    def features(at):
        past, future = windows(series, at, lags, HORIZON)
        return torch.cat([past, torch.ones(len(past), 1)], 1).double(), future.double()

    past, future = features(range(lags - 1, end - HORIZON))
    weights = torch.linalg.lstsq(past, future).solution
    return (features(origins)[0] @ weights).clamp(min=0).float()


def baselines(series, training, validation):
    """Errors on the test part of forecasts without a network: {name: (RMSE, MAE)}."""
    origins = rolling_origins(validation, len(series))
    truth = windows(series, origins, 1, HORIZON)[1]
    between = rolling_origins(training, validation)
    lags = min((12, 24, 36, 48, 72, 132, 264), key=lambda n: errors(
        linear_regression(series, between, training, n), windows(series, between, 1, HORIZON)[1]))
    return {
        "seasonal-naive": errors(windows(series, origins, CYCLE, HORIZON)[0][:, :HORIZON], truth),
        "persistence": errors(windows(series, origins, 1, HORIZON)[0].expand_as(truth), truth),
        "mean of the last year": errors(
            windows(series, origins, 12, 1)[0].mean(1, keepdim=True).expand_as(truth), truth),
        f"linear regression on {lags} months": errors(
            linear_regression(series, origins, validation, lags), truth),
    }


def main():
    args = recipe.arguments(__doc__, "monthly sunspot numbers: CSV, the second column counts",
                            __file__)
    series = read_series(args.data)
    test = round(len(series) * (1 - TEST))
    validation = round(len(series) * (1 - TEST - VALIDATION))
    plain = baselines(series, validation, test)
    for name, figures in plain.items():
        print("%s: RMSE %.2f, MAE %.2f" % (name, *figures))

    model = SunspotGru()
    curves = train(model, series, validation, test)
    print("GRU: RMSE %.2f, MAE %.2f" % errors(
        *predict(model, series, rolling_origins(test, len(series)))))

    recipe.plot_loss(args.out / "loss.png", curves, "RMSE, sunspots", [])
    path = args.out / "1/model.onnx"
    example = {"series": windows(series, [len(series) - 1 - HORIZON], 24, 1)[0].unsqueeze(2)}
    recipe.export(path, model, example, ["forecast"],
                  {"series": {0: "batch", 1: "time"}, "forecast": {0: "batch"}})
    recipe.check(path, model, [{"series": 100 * torch.rand(b, t, 1)}
                               for b, t in [(1, 1), (1, 264), (3, 7), (16, 132)]])
    recipe.show_call(path, "sunspots", example, ["forecast"])


if __name__ == "__main__":
    main()
