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
EMBEDDING, HIDDEN, LAYERS, DROPOUT = 32, 128, 2, 0.5
BATCH, EPOCHS, PATIENCE = 64, 30, 8
LEARNING_RATE, WEIGHT_DECAY, CLIP = 3e-3, 0.05, 1.0
BLANKED = 0.05  # part of the characters that training hides, so that no single one decides
BALANCE = 0.5  # weight of a language in the loss: (number of its surnames) ** -BALANCE
VALIDATION, TEST = 0.1, 0.2
SPLIT_SEED = 0  # the split is the same whatever --seed
NGRAMS = 4


class SurnameLstm(nn.Module):
    """Embedding, bidirectional LSTM layers, Linear over the last states of both directions."""

    def __init__(self, n_languages):
        super().__init__()
        self.embedding = nn.Embedding(len(ALPHABET), EMBEDDING)
        self.lstm = nn.LSTM(EMBEDDING, HIDDEN, LAYERS, batch_first=True, bidirectional=True,
                            dropout=DROPOUT)
        self.dropout = nn.Dropout(DROPOUT)
        self.linear = nn.Linear(2 * HIDDEN, n_languages)

    def forward(self, chars, lengths):
        """chars [batch, time], lengths [batch] (longest first; the exported graph takes any order)
        -> logits [batch, languages]. What lies beyond a length has no influence."""
        packed = pack_padded_sequence(self.embedding(chars), lengths, batch_first=True)
        _, (hn, _) = self.lstm(packed)
        return self.linear(self.dropout(torch.cat([hn[-2], hn[-1]], dim=1)))


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


def language_weights(part, n_languages, balance):
    sizes = torch.bincount(torch.tensor([label for _, label in part]), minlength=n_languages)
    weights = sizes.double().pow(-balance)
    return (weights * sizes.sum() / (weights * sizes).sum()).float()


def train(model, training, validation, n_languages):
    weights = language_weights(training, n_languages, BALANCE)
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    updates = EPOCHS * -(-len(training) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, updates)

    def train_epoch(_):
        total = 0
        for chars, lengths, labels in batches(training, BATCH, torch.randperm(len(training))):
            chars = chars.masked_fill(torch.rand(chars.shape) < BLANKED, 0)
            loss = functional.cross_entropy(model(chars, lengths), labels, weights)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            optimizer.step()
            schedule.step()
            total += loss.item() * len(labels)
        return total / len(training)

    def validate():
        return functional.cross_entropy(*predict(model, validation), weights).item()

    return recipe.fit(model, EPOCHS, train_epoch, validate, PATIENCE)


def ngrams(name):
    marked = f"^{name}$"
    return {marked[i:i + n] for n in range(1, NGRAMS + 1) for i in range(len(marked) - n + 1)}


def ngram_matrix(part, columns):
    """Which of the n-grams in `columns` each surname has: sparse, rows of length 1."""
    rows = [[columns[gram] for gram in ngrams(name) if gram in columns] for name, _ in part]
    pointers = np.cumsum([0] + [len(row) for row in rows])
    values = [len(row) ** -0.5 for row in rows for _ in row]
    return torch.sparse_csr_tensor(torch.tensor(pointers), torch.tensor(sum(rows, [])),
                                   torch.tensor(values), (len(part), len(columns)))


def logistic_regression(features, labels, weights, penalty):
    """Weights [n-grams, languages] with the lowest weighted loss plus penalty * squares."""
    w = torch.zeros(features.shape[1], len(weights), requires_grad=True)
    optimizer = torch.optim.LBFGS([w], max_iter=200, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = functional.cross_entropy(features @ w, labels, weights) + penalty * w.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return w.detach()


def baseline(training, validation, test, n_languages):
    """Scores on the test part of logistic regression on n-grams; penalty and weights of the
    languages are those with the best sum of accuracy and F1 on the validation part."""
    columns = {gram: i for i, gram in enumerate(sorted(set().union(
        *(ngrams(name) for name, _ in training))))}
    features = [ngram_matrix(part, columns) for part in (training, validation, test)]
    labels = [torch.tensor([label for _, label in part]) for part in (training, validation, test)]
    fits = []
    for balance in (0, 0.5, 1):
        weights = language_weights(training, n_languages, balance)
        for penalty in (1e-6, 3e-6, 1e-5, 3e-5, 1e-4):
            w = logistic_regression(features[0], labels[0], weights, penalty)
            validated = scores(features[1] @ w, labels[1])
            tested = scores(features[2] @ w, labels[2])
            print(balance, penalty, validated, tested)
            fits.append((sum(validated), tested))
    return max(fits)[1]


def main():
    args = recipe.arguments(__doc__, "the folder with Arabic.txt to Vietnamese.txt", __file__)
    languages, surnames = read_surnames(args.data)
    training, validation, test = split(surnames)
    print(f"{len(surnames)} surnames, {sum(map(len, surnames.values()))} with their languages; "
          f"training {len(training)}, validation {len(validation)}, test {len(test)}")
    print("n-grams, logistic regression: accuracy %.2f, F1 %.2f"
          % baseline(training, validation, test, len(languages)))

    recipe.set_seed(args.seed)
    model = SurnameLstm(len(languages))
    curves = train(model, training, validation, len(languages))
    print("validation: accuracy %.2f, F1 %.2f" % scores(*predict(model, validation)))
    print("test: accuracy %.2f, F1 %.2f" % scores(*predict(model, test)))

    recipe.plot_loss(args.out / "loss.png", curves, "cross-entropy, weighted")
    (args.out / "1/labels.txt").write_text("\n".join(languages) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
