#!/usr/bin/env python3
"""Writes the scene pairs of simulated worlds as raw files for `fine_features` and fit.py.

usage: simulated.py WORLDS OUT   with WORLDS/sim101, sim102, sim103 made by `groundbreak simulate --seed 101 ...`; needs
numpy, rasterio.
"""
import glob, json, os, sys
import numpy as np, rasterio
from rasterio.enums import Resampling
from rasterio.features import rasterize
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform_geom
from rasterio.windows import from_bounds

worlds, out = sys.argv[1:]
os.makedirs(out, exist_ok=True)
for seed in (101, 102, 103):
    scenes = [file for file in sorted(glob.glob(f"{worlds}/sim{seed}/scenes/*/*.tif")) if "cloud" not in file]
    earlier, later = ([file for file in scenes if kind in file] for kind in ("groundsim-a", "groundsim-b"))
    truth = json.load(open(f"{worlds}/sim{seed}/truth.geojson"))["features"]
    for i, a in enumerate(earlier):
        for j, b in enumerate(later):
            with rasterio.open(a) as da, rasterio.open(b) as db:
                left, bottom = (np.ceil(max(x, y)) + 2 for x, y in zip(da.bounds[:2], db.bounds[:2]))
                right, top = (np.floor(min(x, y)) - 2 for x, y in zip(da.bounds[2:], db.bounds[2:]))
                if right - left < 600:
                    continue
                window = from_bounds(left, bottom, right, top, da.transform)
                before, transform = da.read(window=window).astype("f4"), da.window_transform(window)
                rows, cols = before.shape[1:]
                grid = dict(crs=da.crs, transform=transform, width=cols, height=rows)
                with WarpedVRT(db, resampling=Resampling.average, **grid) as warped:
                    after = warped.read().astype("f4")[[3, 2, 1, 0]]
                mask = b.replace(".tif", "_cloud.tif")
                if os.path.exists(mask):
                    with rasterio.open(mask) as clouds, WarpedVRT(clouds, resampling=Resampling.nearest, **grid) as warped:
                        after[:, warped.read(1) > 0] = 0
                for date in (before, after):
                    date[:, (date == 0).any(0)] = -9999
                lots = [f for f in truth if f["properties"]["kind"] == "lot" and f["properties"].get("change")]
                shapes = [(transform_geom("EPSG:4326", da.crs, f["geometry"]), 1 if f["properties"].get("class") == "factory" else 2) for f in lots]
                labels = rasterize(shapes, (rows, cols), transform=transform, fill=0, dtype="u1")
            stem = f"{out}/sim{seed}__{i}{j}"
            with open(stem + ".raw", "wb") as file:
                file.write(np.array([rows, cols, 4], "<u4").tobytes() + before.astype("<f4").tobytes() + after.astype("<f4").tobytes())
            open(stem + ".bands", "w").write("blue,green,red,nir")
            np.save(stem + ".truth.npy", labels)
