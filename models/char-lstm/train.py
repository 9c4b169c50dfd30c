"""train.py - a language model over characters: two LSTM layers, trained on tiny Shakespeare."""
import collections
import gzip
import lzma
import math
import pathlib
import sys

import torch
from torch import nn
from torch.nn import functional
from tqdm import tqdm

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import recipe  # noqa: E402

LAYERS, EMBEDDING, HIDDEN = 2, 64, 320
DROPOUT = 0.5  # of what a layer hands to the next
LANES, STEPS = 16, 100  # the text is read in 16 places at once, 100 characters an update
EPOCHS, PATIENCE = 14, 3
LEARNING_RATE, WEIGHT_DECAY, CLIP = 3e-3, 0.05, 1.0
VALIDATION, TEST = 0.04, 0.10  # parts of the text, at its end
SPELT = {"\n": "newline", " ": "space"}  # in labels.txt


class CharLstm(nn.Module):
    """Embedding, LSTM layers, Linear; the states go in and come out."""

    def __init__(self, n_characters):
        super().__init__()
        self.embedding = nn.Embedding(n_characters, EMBEDDING)
        self.lstm = nn.LSTM(EMBEDDING, HIDDEN, LAYERS, batch_first=True, dropout=DROPOUT)
        self.dropout = nn.Dropout(DROPOUT)
        self.linear = nn.Linear(HIDDEN, n_characters)

    def forward(self, tokens, h0, c0):
        """tokens [batch, time], states [layers, batch, hidden] -> logits [batch, time, characters]
        of the character that follows each token, and the states after the last one."""
        hidden, (hn, cn) = self.lstm(self.embedding(tokens), (h0, c0))
        return self.linear(self.dropout(hidden)), hn, cn


def zero_states(batch):
    return torch.zeros(LAYERS, batch, HIDDEN), torch.zeros(LAYERS, batch, HIDDEN)


def read_text(path):
    raw = path.read_bytes()
    return (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("utf-8")


def split(tokens):
    """The tokens (tensor or string) -> training, validation and test part."""
    n = len(tokens)
    test, validation = round(n * (1 - TEST)), round(n * (1 - TEST - VALIDATION))
    return tokens[:validation], tokens[validation:test], tokens[test:]


def run_lanes(model, tokens, lanes, steps):
    """Read the tokens in `lanes` equal parts side by side, `steps` at a time, the states carried
    from piece to piece; yield the mean loss (nats per character) and the size of each piece."""
    length = (len(tokens) - 1) // lanes
    inputs = tokens[:lanes * length].view(lanes, length)
    targets = tokens[1:lanes * length + 1].view(lanes, length)
    states = zero_states(lanes)
    for start in range(0, length, steps):
        piece = slice(start, start + steps)
        logits, *states = model(inputs[:, piece], *states)
        states = [state.detach() for state in states]
        yield functional.cross_entropy(logits.transpose(1, 2), targets[:, piece]), \
            targets[:, piece].numel()


def bits_per_character(model, tokens, lanes):
    with torch.no_grad():
        total = sum((loss * n).item() for loss, n in run_lanes(model, tokens, lanes, 1000))
    return total / ((len(tokens) - 1) // lanes * lanes) / math.log(2)


def train(model, training, validation):
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE, betas=(0.9, 0.99),
                                  weight_decay=WEIGHT_DECAY)
    updates = EPOCHS * math.ceil(len(training) / LANES / STEPS)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, updates,
                                                   pct_start=0.05)

    def train_epoch(_):
        shift = torch.randint(STEPS, ()).item()  # so that pieces begin elsewhere in each epoch
        total = count = 0
        pieces = run_lanes(model, training[shift:], LANES, STEPS)
        for loss, n in tqdm(pieces, "updates", updates // EPOCHS, leave=False, mininterval=1):
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            optimizer.step()
            schedule.step()
            total, count = total + loss.item() * n, count + n
        return total / count / math.log(2)

    return recipe.fit(model, EPOCHS, train_epoch, lambda: bits_per_character(model, validation, 8),
                      PATIENCE)


class KneserNey:
    """Interpolated Kneser-Ney over characters: the plain baseline."""

    def __init__(self, text, order, n_characters, discount=0.75):
        self.order, self.floor, self.discount = order, 1 / n_characters, discount
        # followers[n][context of n characters][character] = count; below the highest order, in how
        # many different contexts one character longer it was seen
        self.followers = [collections.defaultdict(collections.Counter) for _ in range(order)]
        for end in range(order - 1, len(text)):
            self.followers[order - 1][text[end - order + 1:end]][text[end]] += 1
        for n in range(order - 1, 0, -1):
            for context, counts in self.followers[n].items():
                self.followers[n - 1][context[1:]].update(counts.keys())
        self.totals = [{context: sum(counts.values()) for context, counts in level.items()}
                       for level in self.followers]

    def probability(self, context, character):
        p = self.floor
        for n in range(self.order):
            key = context[len(context) - n:]
            counts = self.followers[n].get(key)
            if counts is None:
                break
            p = (max(counts[character] - self.discount, 0) + self.discount * len(counts) * p) \
                / self.totals[n][key]
        return p

    def bits_per_character(self, text):
        first = self.order - 1
        return -sum(math.log2(self.probability(text[i - first:i], text[i]))
                    for i in range(first, len(text))) / (len(text) - first)


def baselines(text, n_characters):
    """Bits per character of the test part: {name: figure}."""
    training, validation, test = split(text)
    models = [KneserNey(training, order, n_characters) for order in range(3, 9)]
    best = min(models, key=lambda model: model.bits_per_character(validation))
    seen = training + validation
    extra = len(lzma.compress((seen + test).encode())) - len(lzma.compress(seen.encode()))
    return {f"Kneser-Ney, {best.order} characters": best.bits_per_character(test),
            "xz": 8 * extra / len(test)}


def example(characters, text):
    h0, c0 = zero_states(1)
    return {"tokens": torch.tensor([[characters.index(c) for c in text]]), "h0": h0, "c0": c0}


def sample(model, characters, start, n):
    """Text that the model writes after `start`."""
    inputs, text = example(characters, start), start
    states = [inputs["h0"], inputs["c0"]]
    tokens = inputs["tokens"]
    with torch.no_grad():
        for _ in range(n):
            logits, *states = model(tokens, *states)
            tokens = torch.multinomial(functional.softmax(logits[:, -1] / 0.8, -1), 1)
            text += characters[tokens.item()]
    return text


def main():
    args = recipe.arguments(__doc__, "tiny Shakespeare as a text file, .gz or not", __file__)
    text = read_text(args.data)
    characters = sorted(set(text))
    training, validation, test = split(torch.tensor([characters.index(c) for c in text]))
    plain = baselines(text, len(characters))
    print("baselines, bits per character:", plain)

    model = CharLstm(len(characters))
    curves = train(model, training, validation)
    print(f"validation {bits_per_character(model, validation, 1):.4f}, "
          f"test {bits_per_character(model, test, 1):.4f} bits per character")
    print(sample(model, characters, "ROMEO:", 300))

    recipe.plot_loss(args.out / "loss.png", curves, "bits per character",
                     [(next(iter(plain)) + " (test)", next(iter(plain.values())))])
    labels = [SPELT.get(c, c) for c in characters]
    (args.out / "1/labels.txt").write_text("\n".join(labels) + "\n", encoding="utf-8")
    path = args.out / "1/model.onnx"
    batch = {1: "batch"}
    recipe.export(path, model, example(characters, "ab"), ["logits", "hn", "cn"],
                  {"tokens": {0: "batch", 1: "time"}, "logits": {0: "batch", 1: "time"},
                   "h0": batch, "c0": batch, "hn": batch, "cn": batch})
    recipe.check(path, model, [
        {"tokens": torch.randint(len(characters), (b, t)), "h0": torch.rand(LAYERS, b, HIDDEN),
         "c0": torch.rand(LAYERS, b, HIDDEN)} for b, t in [(1, 1), (1, 50), (3, 7), (16, 1)]])
    recipe.show_call(path, args.out.name, example(characters, "q"), ["logits"], ["h0", "c0"])


if __name__ == "__main__":
    main()
