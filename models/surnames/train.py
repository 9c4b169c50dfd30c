"""train.py - from which of 18 languages is a surname? A bidirectional LSTM over its characters."""
import collections
import pathlib
import string
import sys
import unicodedata

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import recipe  # noqa: E402

ALPHABET = "\0 '-" + string.ascii_lowercase  # a character's place is its number; 0: any other
EMBEDDING, HIDDEN = 32, 160
DROPOUT, EMBEDDING_DROPOUT = 0.5, 0.1
BLANKED = 0.05  # part of the characters that training hides, so that no single one decides
SMOOTHING = 0.05  # of the labels
BATCH, EPOCHS, PATIENCE = 64, 16, 16
LEARNING_RATE, WEIGHT_DECAY, CLIP = 3e-3, 0.05, 1.0
BALANCES = [i / 10 for i in range(11)]  # candidates for balance()
VALIDATION, TEST = 0.1, 0.2
SPLIT_SEED = 0  # the split is the same whatever --seed
NGRAMS, PENALTIES = 4, (1e-7, 3e-7, 1e-6, 3e-6, 1e-5)  # of the baseline


class SurnameLstm(nn.Module):
    """Embeddings of characters and of pairs, a bidirectional LSTM, Linear over its last states."""

    def __init__(self, n_languages):
        super().__init__()
        self.characters = nn.Embedding(len(ALPHABET), EMBEDDING)
        self.pairs = nn.Embedding(len(ALPHABET) ** 2, EMBEDDING)
        self.embedding_dropout = nn.Dropout(EMBEDDING_DROPOUT)
        self.lstm = nn.LSTM(2 * EMBEDDING, HIDDEN, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(DROPOUT)
        self.linear = nn.Linear(2 * HIDDEN, n_languages)

    def forward(self, chars, lengths):
        """chars [batch, time], lengths [batch] -> logits [batch, languages]. What lies beyond a
        length has no influence. (PyTorch wants the longest first; the graph takes any order.)"""
        before = torch.cat([torch.zeros_like(chars[:, :1]), chars[:, :-1]], dim=1)
        embedded = torch.cat([self.characters(chars),
                              self.pairs(chars + len(ALPHABET) * before)], dim=2)
        packed = pack_padded_sequence(self.embedding_dropout(embedded), lengths, batch_first=True)
        zeros = torch.zeros(2, chars.shape[0], HIDDEN)
        _, (hn, _) = self.lstm(packed, (zeros, zeros))
        return self.linear(self.dropout(torch.cat([hn[0], hn[1]], dim=1)))


def fold(surname):
    """'Große ' -> 'grosse': lower case, without accents."""
    plain = unicodedata.normalize("NFKD", surname.strip().lower().replace("ß", "ss"))
    return "".join(c for c in plain if not unicodedata.combining(c))


def read_surnames(folder):
    """One file for each language -> (languages, {surname: set of language numbers}).

    The files repeat surnames (the 2000 lines of Arabic.txt are 108 different ones): here a surname
    counts once in each language that has it."""
    files = sorted(folder.glob("*.txt"))
    if not files:
        raise SystemExit(f"--data: no *.txt in {folder}")
    surnames = collections.defaultdict(set)
    for number, file in enumerate(files):
        for line in file.read_text(encoding="utf-8").splitlines():
            surnames[fold(line)].add(number)
    return [file.stem for file in files], surnames


def split(surnames):
    """Training, validation and test part, each a list of (surname, language).

    By surname, so that none is in two parts with two languages; and the same share of each
    language, a surname of several languages being placed with the rarest of them."""
    sizes = collections.Counter(label for labels in surnames.values() for label in labels)
    strata = collections.defaultdict(list)
    for surname in sorted(surnames):
        strata[min(surnames[surname], key=sizes.get)].append(surname)
    parts = [], [], []
    shuffle = np.random.RandomState(SPLIT_SEED)
    for label in sorted(strata):
        names = list(shuffle.permutation(strata[label]))
        test = round(len(names) * TEST)
        validation = test + round(len(names) * VALIDATION)
        for part, chosen in zip(parts, (names[validation:], names[test:validation], names[:test])):
            part.extend((str(name), label) for name in chosen for label in sorted(surnames[name]))
    return parts


def encode(names):
    """Surnames -> chars [batch, time], padded with 0, and lengths [batch]."""
    lengths = torch.tensor([len(name) for name in names])
    chars = torch.zeros(len(names), int(lengths.max()), dtype=torch.int64)
    for row, name in enumerate(names):
        chars[row, :len(name)] = torch.tensor([max(ALPHABET.find(c), 0) for c in name])
    return chars, lengths


def batches(part, size, order):
    """Pieces of the part (chars, lengths, labels), each with the longest surname first."""
    for start in range(0, len(order), size):
        rows = sorted((part[i] for i in order[start:start + size]), key=lambda row: -len(row[0]))
        names, labels = zip(*rows)
        yield *encode(names), torch.tensor(labels)


def predict(model, part):
    """Logits and true labels of a part, in the order of batches()."""
    model.eval()
    with torch.no_grad():
        pairs = [(model(chars, lengths), labels)
                 for chars, lengths, labels in batches(part, 512, range(len(part)))]
    return torch.cat([logits for logits, _ in pairs]), torch.cat([labels for _, labels in pairs])


def scores(logits, labels):
    """Accuracy, and F1 averaged over the languages, in percent."""
    guesses, n = logits.argmax(1), logits.shape[1]
    table = torch.bincount(labels * n + guesses, minlength=n * n).view(n, n).double()
    f1 = 2 * table.diag() / (table.sum(0) + table.sum(1)).clamp(min=1)
    return 100 * (table.diag().sum() / table.sum()).item(), 100 * f1.mean().item()


def log_shares(part, n_languages):
    """Logarithm of each language's share of the part."""
    sizes = torch.bincount(torch.tensor([label for _, label in part]), minlength=n_languages)
    return (sizes / sizes.sum()).log()


def balance(logits, labels, shares):
    """What to subtract from logits so that rare languages get their due: `shares` times the
    candidate with the best sum of accuracy and F1. -> (sum, tensor [languages])"""
    found = {c: sum(scores(logits - c * shares, labels)) for c in BALANCES}
    best = max(found, key=found.get)
    return found[best], best * shares


def train(model, training, validation):
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    updates = EPOCHS * -(-len(training) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, updates)

    def train_epoch(_):
        total = 0
        for chars, lengths, labels in batches(training, BATCH, torch.randperm(len(training))):
            chars = chars.masked_fill(torch.rand(chars.shape) < BLANKED, 0)
            loss = functional.cross_entropy(model(chars, lengths), labels,
                                            label_smoothing=SMOOTHING)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            optimizer.step()
            schedule.step()
            total += loss.item() * len(labels)
        return total / len(training)

    def validate():
        return functional.cross_entropy(*predict(model, validation)).item()

    return recipe.fit(model, EPOCHS, train_epoch, validate, PATIENCE)


def ngrams(name):
    marked = f"^{name}$"
    return {marked[i:i + n] for n in range(1, NGRAMS + 1) for i in range(len(marked) - n + 1)}


def ngram_matrix(part, columns):
    """Which of the n-grams in `columns` each surname has: sparse, rows of length 1."""
    rows = [[columns[gram] for gram in ngrams(name) if gram in columns] for name, _ in part]
    places = [[i, column] for i, row in enumerate(rows) for column in row]
    values = [len(row) ** -0.5 for row in rows for _ in row]
    return torch.sparse_coo_tensor(torch.tensor(places).T, torch.tensor(values),
                                   (len(part), len(columns)), check_invariants=True).coalesce()


def logistic_regression(features, labels, n_languages, penalty):
    """Weights [n-grams, languages] with the lowest loss plus penalty * squares."""
    w = torch.zeros(features.shape[1], n_languages, requires_grad=True)
    optimizer = torch.optim.LBFGS([w], max_iter=300, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = functional.cross_entropy(features @ w, labels) + penalty * w.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return w.detach()


def baseline(training, validation, test, n_languages):
    """Scores on the test part of logistic regression on n-grams, its penalty and balance being
    those with the best sum of accuracy and F1 on the validation part."""
    columns = {gram: i for i, gram in enumerate(sorted(set().union(
        *(ngrams(name) for name, _ in training))))}
    features = [ngram_matrix(part, columns) for part in (training, validation, test)]
    labels = [torch.tensor([label for _, label in part]) for part in (training, validation, test)]
    shares = log_shares(training, n_languages)
    fits = []
    for penalty in PENALTIES:
        w = logistic_regression(features[0], labels[0], n_languages, penalty)
        validated, shift = balance(features[1] @ w, labels[1], shares)
        fits.append((validated, scores(features[2] @ w - shift, labels[2])))
    return max(fits)[1]


def example(names):
    chars, lengths = encode([fold(name) for name in names])
    return {"chars": chars, "lengths": lengths}


def one_by_one(model):
    """The model as a function that sees each surname alone and without padding."""
    def run(chars, lengths):
        return torch.cat([model(row[None, :n], n[None]) for row, n in zip(chars, lengths)])
    return run


def main():
    args = recipe.arguments(__doc__, "the folder with Arabic.txt to Vietnamese.txt", __file__)
    languages, surnames = read_surnames(args.data)
    training, validation, test = split(surnames)
    print(f"{len(surnames)} surnames, {sum(map(len, surnames.values()))} with their languages; "
          f"training {len(training)}, validation {len(validation)}, test {len(test)}")
    print("n-grams, logistic regression: accuracy %.2f, F1 %.2f"
          % baseline(training, validation, test, len(languages)))

    model = SurnameLstm(len(languages))
    curves = train(model, training, validation)
    _, shift = balance(*predict(model, validation), log_shares(training, len(languages)))
    with torch.no_grad():
        model.linear.bias -= shift
    for name, part in ("validation", validation), ("test", test):
        print("%s: accuracy %.2f, F1 %.2f" % (name, *scores(*predict(model, part))))

    recipe.plot_loss(args.out / "loss.png", curves, "cross-entropy (nats)")
    (args.out / "1/labels.txt").write_text("\n".join(languages) + "\n", encoding="utf-8")
    path = args.out / "1/model.onnx"
    recipe.export(path, model, example(["Satoshi"]), ["logits"],
                  {"chars": {0: "batch", 1: "time"}, "lengths": {0: "batch"},
                   "logits": {0: "batch"}})
    recipe.check(path, one_by_one(model), [example(names) for names in (
        ["Li"], ["Wu", "Dostoevsky", "O'Neill"], ["Papadopoulos", "Kim"] * 8)])
    recipe.show_call(path, args.out.name, example(["Nakamura", "Kim"]), ["logits"])


if __name__ == "__main__":
    main()
