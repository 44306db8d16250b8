#!/usr/bin/env python3
"""Writes the labelled very-high-resolution pairs (and a synthetic one) as raw files for `fine_features` and fit.py.

usage: export.py SCENES SYNTHETIC OUT   with SCENES = ../shared/data/scenes and SYNTHETIC made by
../shared/peers/gen.py SYNTHETIC 2048; needs numpy, pillow, rasterio.
"""
import glob, os, sys
import numpy as np, rasterio
from PIL import Image

scenes, synthetic, out = sys.argv[1:]
os.makedirs(out, exist_ok=True)

def put(name, before, after, bands, truth):
    with open(f"{out}/{name}.raw", "wb") as file:
        file.write(np.array([before.shape[1], before.shape[2], before.shape[0]], "<u4").tobytes())
        file.write(before.astype("<f4").tobytes() + after.astype("<f4").tobytes())
    open(f"{out}/{name}.bands", "w").write(bands)
    np.save(f"{out}/{name}.truth.npy", truth.astype(np.uint8))

def halved(pixels): return pixels.reshape(*pixels.shape[:-2], pixels.shape[-2] // 2, 2, -1, 2).mean((-3, -1))

def picture(path): return np.asarray(Image.open(path).convert("RGB")).transpose(2, 0, 1)
def raster(path):
    with rasterio.open(path) as file: return file.read()

for kind in ("levir_1024", "levir_256", "dsifn_256", "whu_256"):
    for before in sorted(glob.glob(f"{scenes}/{kind}/A/*")):
        name = os.path.splitext(os.path.basename(before))[0]
        truth = np.asarray(Image.open(f"{scenes}/{kind}/label/{name}.png").convert("L")) > 127
        after = picture(before.replace("/A/", "/B/"))
        put(f"{kind}__{name}", picture(before), after, "red,green,blue", truth)
        if kind != "dsifn_256":
            put(f"half{kind}__{name}", halved(picture(before)), halved(after), "red,green,blue", halved(truth * 1.0) >= 0.5)
before, after, truth = (raster(f"{synthetic}/{name}.tif") for name in ("raw_t0", "raw_t1", "truth"))
put("syn__rgb", before[[2, 1, 0]], after[[2, 1, 0]], "red,green,blue", truth[0])
put("syn__nir", before, after, "blue,green,red,nir", truth[0])
