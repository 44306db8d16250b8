#!/usr/bin/env python3
"""Fits the networks of the fine evidence and writes them as Rust (crates/analysis/src/evidence/model/*.rs).

usage: fit.py FOLDER OUT   with FOLDER as docs/decisions/0004-threshold-and-evidence.md makes it (.raw, .features,
.truth.npy); OUT gets colour.rs and grey.rs. Needs numpy and scikit-learn.
Folds: five, by parent tile (crops of one tile, its copy at half the resolution and tiles that join stay together). Every
figure printed is of tiles that the fold's network did not see, of simulated worlds that no network sees (sim103), and of
peers/gen.py (syn); the network that is written is then fitted on all labelled tiles and on sim101 and sim102.
"""
import glob, os, re, sys
import numpy as np
from sklearn.neural_network import MLPClassifier

folder, out = sys.argv[1:]
NAMES = """score_1 score_4 correlation brightness_1_before brightness_8_before vegetation_1_before vegetation_8_before
hue_1_before edges_2_before edges_6_before edges_12_before contrast_4_before brightness_1_after brightness_8_after
vegetation_1_after vegetation_8_after hue_1_after edges_2_after edges_6_after edges_12_after contrast_4_after score_12
score_24 brightness_24_before vegetation_24_before hue_8_before edges_24_before brightness_24_after vegetation_24_after
hue_8_after edges_24_after""".split()
UNITS, EPOCHS, DECAY = 24, 8, 0.3
# By set: how often its sampled pixels are repeated, how many are sampled per tile.
SETS = {"levir_1024": (1, 12000), "halflevir_1024": (1, 4000), "levir_256": (1, 6000), "halflevir_256": (1, 3000),
        "dsifn_256": (4, 6000), "whu_256": (1, 3000), "halfwhu_256": (1, 6000)}
SIMULATED, LOTS = 30000, 3000
JOINED = {"test_39": "test_37", "test_44": "test_43", "test_45": "test_43"}
# Log-odds above which a pixel counts as changed: where F1 is about best on the training tiles.
OPERATING = -1.5
rng = np.random.default_rng(5)

class Tile:
    def __init__(self, stem):
        self.kind, self.name = os.path.basename(stem).split("__")
        rows, cols, bands = (int(n) for n in np.fromfile(stem + ".raw", "<u4", 3))
        self.values = np.memmap(stem + ".features", "<f4", mode="r", shape=(len(NAMES), rows * cols))
        self.truth = np.load(stem + ".truth.npy").ravel()
        base = self.kind.removeprefix("half")
        parent = re.match(r"(test|train|val)_\d+", self.name)
        self.parent = base + self.name if parent is None else JOINED.get(parent.group(0), parent.group(0))
        self.valid = np.ones(rows * cols, bool)
        if self.kind.startswith("sim"):
            raw = np.memmap(stem + ".raw", "<f4", mode="r", offset=12, shape=(2, bands, rows * cols))
            self.valid = (np.array(raw[0, 0]) != -9999) & (np.array(raw[1, 0]) != -9999)

    def draw(self, count, among=None):
        """Values and truth of so many valid pixels."""
        at = np.flatnonzero(self.valid if among is None else self.valid & among)
        at = np.sort(rng.choice(at, min(count, len(at)), False))
        return np.stack([np.array(plane)[at] for plane in self.values], 1), self.truth[at]

tiles = [Tile(path[: -len(".features")]) for path in sorted(glob.glob(os.path.join(folder, "*.features")))]
parents = sorted({tile.parent for tile in tiles if tile.kind in SETS})
fold_of = dict(zip(parents, rng.permutation(np.arange(len(parents)) % 5)))

X, Y, F = [], [], []
def add(drawn, fold):
    X.append(drawn[0]); Y.append(drawn[1] > 0); F.append(np.full(len(drawn[1]), fold))
for tile in tiles:
    if tile.kind in SETS:
        repeat, count = SETS[tile.kind]
        drawn = tile.draw(count)
        for _ in range(repeat):
            add(drawn, fold_of[tile.parent])
    elif tile.kind in ("sim101", "sim102"):
        add(tile.draw(SIMULATED), -1); add(tile.draw(LOTS, tile.truth > 0), -1)
X, Y, F = map(np.concatenate, (X, Y, F))
centre, spread = X.mean(0), X.std(0)
tests = {tile: tile.draw(60000) for tile in tiles if tile.kind not in ("sim101", "sim102")}
lots = {tile: tile.draw(8000, tile.truth > 0) for tile in tests if tile.kind not in SETS}

def scaled(x, used): return np.clip((x - centre) / spread, -3, 3)[:, used]
def fit(x, y, used):
    return MLPClassifier((UNITS,), alpha=DECAY, max_iter=EPOCHS, batch_size=1000, learning_rate_init=2e-3, random_state=0,
                         tol=0, n_iter_no_change=1000).fit(scaled(x, used), y)
def logit(model, x, used):
    hidden = np.maximum(scaled(x, used) @ model.coefs_[0] + model.intercepts_[0], 0)
    return (hidden @ model.coefs_[1] + model.intercepts_[1]).ravel()

def cross_validate(used):
    found, on_lots = {}, {}
    for fold in range(5):
        model = fit(X[F != fold], Y[F != fold], used)
        for tile, (x, _) in tests.items():
            if fold_of.get(tile.parent, 0) == fold:
                found[tile] = logit(model, x, used)
                if tile in lots:
                    on_lots[tile] = logit(model, lots[tile][0], used)
    for shift in np.arange(-2.0, -0.5, 0.25):
        line = []
        for kind in SETS:
            tp = fp = fn = 0.0
            for tile, logits in found.items():
                if tile.kind == kind:
                    truth = tests[tile][1] > 0; claimed = logits > shift; each = tile.valid.sum() / len(truth)
                    tp += (claimed & truth).sum() * each; fp += (claimed & ~truth).sum() * each; fn += (~claimed & truth).sum() * each
            line.append(f"{kind} F1 {2*tp/max(2*tp+fp+fn,1):.3f} P {tp/max(tp+fp,1):.2f} R {tp/max(tp+fn,1):.2f}")
        for tile, logits in on_lots.items():
            truth, rest = lots[tile][1], found[tile][tests[tile][1] == 0] > shift
            hit = [f"{(logits[truth == kind] > shift).mean():.2f}" for kind in (1, 2) if (truth == kind).any()]
            line.append(f"{tile.kind} {tile.name} factory lots, other lots {' '.join(hit)} rest {rest.mean():.4f}")
        print(f"{shift:+.2f} " + "; ".join(line), flush=True)

def rust(model, used, what):
    first = np.zeros((len(NAMES), UNITS)); first[used] = model.coefs_[0]
    row = lambda values: ", ".join(f"{value:.4f}" for value in values)
    lines = "".join(f"        // {name}\n        [{row(weights)}],\n" for name, weights in zip(NAMES, first))
    return (f"//! The network for {what}, as `docs/decisions/0004/fit.py` prints it.\n\nuse super::Model;\n\n/// The network.\n"
            f"#[rustfmt::skip]\npub static NETWORK: Model = Model {{\n    centre: [\n        {row(centre)},\n    ],\n"
            f"    inverse: [\n        {row(np.where(used, 1 / spread, 0))},\n    ],\n    first: [\n{lines}    ],\n"
            f"    first_bias: [{row(model.intercepts_[0])}],\n    second: [{row(model.coefs_[1][:, 0])}],\n"
            f"    bias: {model.intercepts_[1][0] - OPERATING:.4f},\n}};\n")

for name, what in (("colour", "pairs with vegetation and hue on both dates"), ("grey", "pairs without")):
    used = np.array([name == "colour" or not n.startswith(("vegetation", "hue")) for n in NAMES])
    print("#", name)
    cross_validate(used)
    open(os.path.join(out, name + ".rs"), "w").write(rust(fit(X, Y, used), used, what))
