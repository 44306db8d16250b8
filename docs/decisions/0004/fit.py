#!/usr/bin/env python3
"""Fits the logistic models of the fine evidence and prints them as Rust (crates/analysis/src/evidence/model.rs).

usage: fit.py FOLDER   with the .raw, .features and .truth.npy of docs/decisions/0004-threshold-and-evidence.md.
Folds: five, by parent tile (crops of one tile and tiles that join stay together). Every figure printed is of tiles that
the fold's model did not see; the model that is written is then fitted on all of them.
"""
import glob, os, re, sys
import numpy as np
from sklearn.linear_model import LogisticRegression

folder = sys.argv[1]
NAMES = """score_1 score_4 correlation brightness_1_before brightness_8_before vegetation_1_before vegetation_8_before hue_1_before
edges_2_before edges_6_before edges_12_before contrast_4_before brightness_1_after brightness_8_after vegetation_1_after
vegetation_8_after hue_1_after edges_2_after edges_6_after edges_12_after contrast_4_after""".split()
WEIGHT = {"levir_1024": 1, "levir_256": 1, "dsifn_256": 4, "whu_256": 1}
PER_TILE = {"levir_1024": 12000, "levir_256": 6000, "dsifn_256": 6000, "whu_256": 6000}
JOINED = {"test_39": "test_37", "test_44": "test_43", "test_45": "test_43"}
rng = np.random.default_rng(0)

tiles = []
for path in sorted(glob.glob(os.path.join(folder, "*.features"))):
    stem = path[: -len(".features")]
    kind, name = os.path.basename(stem).split("__")
    rows, cols, _ = np.fromfile(stem + ".raw", "<u4", 3)
    values = np.fromfile(path, "<f4").reshape(len(NAMES), rows * cols)
    truth = np.load(stem + ".truth.npy").ravel()
    parent = re.match(r"(test|train|val)_\d+", name)
    parent = kind + name if parent is None else JOINED.get(parent.group(0), parent.group(0))
    tiles.append((kind, name, parent, values, truth))
parents = sorted({t[2] for t in tiles if t[0] != "syn"})
fold_of = dict(zip(parents, rng.permutation(np.arange(len(parents)) % 5)))

X, Y, W, F = [], [], [], []
for kind, name, parent, values, truth in tiles:
    if kind == "syn":
        continue
    pick = rng.choice(truth.size, min(truth.size, PER_TILE[kind]), replace=False)
    X.append(values[:, pick].T); Y.append(truth[pick] > 0); F.append(np.full(len(pick), fold_of[parent])); W.append(np.full(len(pick), float(WEIGHT[kind])))
X, Y, W, F = map(np.concatenate, (X, Y, W, F))
centre, spread = X.mean(0), X.std(0)

def scaled(x): return np.clip((x - centre) / spread, -3, 3)
def fit(x, y, w, used):
    model = LogisticRegression(C=1.0, max_iter=500).fit(scaled(x)[:, used], y, w)
    weights = np.zeros(len(NAMES)); weights[used] = model.coef_[0]
    return weights, model.intercept_[0]

def cross_validate(used):
    logits = {}
    for fold in range(5):
        weights, bias = fit(X[F != fold], Y[F != fold], W[F != fold], used)
        for i, (kind, name, parent, values, truth) in enumerate(tiles):
            if fold_of.get(parent) == fold or (kind == "syn" and fold == 0):
                logits[i] = scaled(values.T) @ weights + bias
    return logits

def report(logits, shift):
    line = []
    for kind in WEIGHT:
        tp = fp = fn = n = 0
        for i, (k, _, _, _, truth) in enumerate(tiles):
            if k == kind:
                m, t = logits[i] > shift, truth > 0
                tp += (m & t).sum(); fp += (m & ~t).sum(); fn += (~m & t).sum(); n += t.size
        line.append(f"{kind} F1 {2*tp/(2*tp+fp+fn):.3f} P {tp/max(tp+fp,1):.2f} R {tp/(tp+fn):.2f} fp {fp/n:.3f}")
    for i, (k, name, _, _, truth) in enumerate(tiles):
        if k == "syn":
            m = logits[i] > shift
            line.append(f"syn {name} lots {m[truth==1].mean():.2f} else {m[truth==0].mean():.4f}")
    print(f"{shift:+.2f} " + "; ".join(line))

def rust(name, weights, bias):
    print(f"static {name}: Model = Model {{\n    bias: {bias:.4f} + {-OPERATING[name]:.2f},\n    terms: [")
    for c, s, w in zip(centre, spread, weights):
        print(f"        term({c:.4f}, {1/s:.4f}, {w:.4f}),")
    print("    ],\n};")

# The operating points: log-odds above which a pixel counts as changed, where F1 is about best on the training tiles.
OPERATING = {"COLOUR": -1.75, "GREY": -2.0}
colour = list(range(len(NAMES)))
grey = [i for i, n in enumerate(NAMES) if not n.startswith(("vegetation", "hue"))]
for name, used in (("COLOUR", colour), ("GREY", grey)):
    logits = cross_validate(used)
    print("#", name, file=sys.stdout)
    for shift in np.arange(-2.75, -1.2, 0.25):
        report(logits, shift)
    weights, bias = fit(X, Y, W, used)
    rust(name, weights, bias)
    np.savez(os.path.join(folder, name.lower() + ".npz"), **{str(i): v for i, v in logits.items()})
