"""What rasterio (GDAL) reads: the reference that `cog_conformance.rs` compares with.

    rasterio_reference.py dump FOLDER OUT    the files of a folder, as they are
    rasterio_reference.py matrix OUT         files of every kind, written by GDAL, and what GDAL reads of them
    rasterio_reference.py crs JSON           how far PROJ strings are from the CRS that GDAL reads, in units

`dump` and `matrix` write OUT/index.json and, per level, raw samples: one band after the other, little-endian.
"""

import itertools
import json
import os
import sys
import warnings
import zlib

import numpy as np
import rasterio
from rasterio.enums import ColorInterp, Interleaving, MaskFlags, Resampling
from rasterio.transform import Affine

warnings.simplefilter("ignore")


def describe(path, out, name):
    """One entry of the index."""
    entry = {"path": path, "name": name}
    try:
        with rasterio.open(path) as d:
            levels = [None, *range(len(d.overviews(1)))]
            gcps = bool(d.gcps[0])
            no_transform = d.transform == Affine.identity()
            entry |= {
                "width": d.width,
                "height": d.height,
                "bands": d.count,
                "dtype": d.dtypes[0],
                "nodata": None if d.nodata is None else repr(float(d.nodata)),
                "epsg": d.crs.to_epsg() if d.crs and not gcps else None,
                "has_crs": bool(d.crs),
                "transform": None if no_transform else [repr(float(n)) for n in d.transform.to_gdal()],
                "scales": [repr(float(n)) for n in d.scales],
                "offsets": [repr(float(n)) for n in d.offsets],
                "names": list(d.descriptions),
                "alpha": next((i for i, c in enumerate(d.colorinterp) if c == ColorInterp.alpha), None),
                "compression": d.compression.value if d.compression else "NONE",
                "block": list(d.block_shapes[0]),
                "has_mask": MaskFlags.per_dataset in d.mask_flag_enums[0] and MaskFlags.alpha not in d.mask_flag_enums[0],
            }
    except Exception as error:
        return entry | {"error": str(error)}
    entry["levels"] = []
    for level in levels:
        options = {} if level is None else {"overview_level": level}
        record = {}
        try:
            with rasterio.open(path, **options) as d:
                record |= {"width": d.width, "height": d.height}
                pixels = d.read()
                data = f"{name}.{level}.raw"
                pixels.astype(pixels.dtype.newbyteorder("<")).tofile(os.path.join(out, data))
                record["data"] = data
                if entry["has_mask"]:
                    record["mask"] = f"{name}.{level}.mask"
                    d.read_masks(1).tofile(os.path.join(out, record["mask"]))
        except Exception as error:
            record["error"] = str(error)
        entry["levels"].append(record)
    return entry


def write_index(entries, out):
    with open(os.path.join(out, "index.json"), "w") as file:
        json.dump({"gdal": rasterio.__gdal_version__, "files": entries}, file)


def dump(folder, out):
    names = sorted(n for n in os.listdir(folder) if n.lower().endswith((".tif", ".tiff")))
    write_index([describe(os.path.join(folder, name), out, name) for name in names], out)


WIDTH, HEIGHT = 53, 37


def noise(dtype, bands, width=WIDTH, height=HEIGHT, seed=1):
    """Samples that use all bits, and in floats the special values."""
    random = np.random.default_rng(seed)
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        pixels = (random.standard_normal((bands, height, width)) * 1e3).astype(dtype)
        pixels[:, 0, : min(4, width)] = [np.nan, np.inf, -np.inf, -0.0][: min(4, width)]
        return pixels
    info = np.iinfo(dtype)
    return random.integers(info.min, info.max, (bands, height, width), dtype=dtype, endpoint=True)


def smooth(bands, width, height):
    """A picture, for lossy codecs."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([127 + 120 * np.sin(x / (9.0 + 3 * b)) * np.cos(y / (7.0 + 2 * b)) for b in range(bands)]).astype("uint8")


class Matrix:
    def __init__(self, out):
        self.out, self.entries = out, []

    def write(self, name, pixels, after=None, config=None, driver="GTiff", **options):
        path = os.path.join(self.out, name + ".tif")
        profile = {
            "driver": driver, "count": pixels.shape[0], "height": pixels.shape[1], "width": pixels.shape[2],
            "dtype": pixels.dtype, "crs": "EPSG:32652", "transform": Affine(10, 0, 300000, 0, -10, 4400000),
        }
        profile |= options
        with rasterio.Env(**(config or {})):
            with rasterio.open(path, "w", **{k: v for k, v in profile.items() if v is not None}) as d:
                d.write(pixels)
                if after:
                    after(d)
        return path

    def add(self, name, pixels, **options):
        path = self.write(name, pixels, **options)
        self.entries.append(describe(path, self.out, name))
        return path


def matrix(out):
    m = Matrix(out)
    dtypes = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64"]
    for dtype, codec, predictor, interleave, tiled, order in itertools.product(
        dtypes, ["NONE", "DEFLATE", "LZW", "ZSTD", "PACKBITS"], [1, 2, 3], ["pixel", "band"], [False, True], ["LITTLE", "BIG"]
    ):
        if predictor > 1 and codec in ("NONE", "PACKBITS") or predictor == 3 and dtype[0] != "f":
            continue
        name = f"{dtype}-{codec}-{predictor}-{interleave}-{'tiles' if tiled else 'strips'}-{order}".lower()
        big = "YES" if zlib.crc32(name.encode()) & 1 else "NO"
        layout = {"tiled": True, "blockxsize": 32, "blockysize": 16} if tiled else {"blockysize": 7}
        options = {"compress": codec, "interleave": interleave, "endianness": order, "bigtiff": big, **layout}
        if codec not in ("NONE", "PACKBITS"):
            options["predictor"] = predictor
        m.add(name, noise(dtype, 3), **options)

    # Sizes at the edges of blocks.
    for width, height in [(1, 1), (1, 40), (40, 1), (16, 16), (17, 15), (256, 3)]:
        pixels = noise("uint16", 2, width, height)
        m.add(f"size-{width}x{height}-tiles", pixels, tiled=True, blockxsize=16, blockysize=16, compress="DEFLATE", predictor=2)
        m.add(f"size-{width}x{height}-strips", pixels, compress="LZW")

    # Samples of fewer bits than a byte, and half precision.
    for bits, interleave, tiled in itertools.product([1, 2, 4], ["pixel", "band"], [False, True]):
        pixels = noise("uint8", 3) % (1 << bits)
        layout = {"tiled": True, "blockxsize": 16, "blockysize": 16} if tiled else {"blockysize": 5}
        m.add(f"nbits-{bits}-{interleave}-{tiled}", pixels, nbits=bits, interleave=interleave, compress="DEFLATE", **layout)
    for order, predictor in itertools.product(["LITTLE", "BIG"], [1, 2, 3]):
        half = noise("float16", 2).astype("float32")
        m.add(f"half-{order}-{predictor}", half, nbits=16, compress="DEFLATE", predictor=predictor, endianness=order)

    # Overviews and masks, in tiles and in strips of other heights than the image's.
    mask = (np.add.outer(np.arange(301), np.arange(205)) % 7 > 2).astype("uint8") * 255

    def with_mask_and_overviews(d):
        d.write_mask(mask)
        d.build_overviews([2, 4, 8], Resampling.nearest)

    internal = {"GDAL_TIFF_INTERNAL_MASK": True}
    for codec, tiled in itertools.product(["NONE", "DEFLATE", "LZW"], [False, True]):
        layout = {"tiled": True, "blockxsize": 64, "blockysize": 32} if tiled else {"blockysize": 13}
        m.add(f"mask-{codec}-{tiled}", noise("uint16", 2, 205, 301), after=with_mask_and_overviews, config=internal, compress=codec, **layout)
    m.add("cog-driver", noise("uint16", 2, 205, 301), driver="COG", compress="ZSTD", blocksize=128, overview_count=2, predictor="YES")
    m.add("cog-driver-mask", noise("uint8", 3, 205, 301), after=lambda d: d.write_mask(mask), config=internal, driver="COG", compress="DEFLATE", blocksize=128, overview_count=1)

    # Blocks that are not in the file.
    for nodata, interleave in itertools.product([None, 7, 200], ["pixel", "band"]):
        pixels = np.full((2, 64, 96), 0 if nodata is None else nodata, "uint8")
        pixels[1, 3:5, 40:60] = 9
        m.add(f"sparse-{nodata}-{interleave}", pixels, sparse_ok=True, nodata=nodata, interleave=interleave, tiled=True, blockxsize=32, blockysize=32, compress="DEFLATE")
    for nodata in [float("nan"), -3.4028234663852886e38]:
        pixels = np.full((1, 64, 64), nodata, "float32")
        pixels[0, 3, 4] = 1.5
        m.add(f"sparse-float-{nodata}", pixels, sparse_ok=True, nodata=nodata, tiled=True, blockxsize=32, blockysize=32)

    # Strips that are cut into pieces.
    for interleave, rows in [("pixel", 1500), ("band", 1500), ("pixel", 700), ("band", 1100)]:
        m.add(f"large-strip-{interleave}-{rows}", noise("uint16", 2, 700, 1500), blockysize=rows, interleave=interleave)

    # Lossy codecs.
    for photometric, bands, tiled in itertools.product(["YCBCR", "RGB", "MINISBLACK"], [1, 3, 4], [False, True]):
        if photometric == "YCBCR" and bands != 3 or photometric == "RGB" and bands == 1 or photometric == "MINISBLACK" and bands == 4:
            continue
        layout = {"tiled": True, "blockxsize": 64, "blockysize": 48} if tiled else {"blockysize": 16}
        m.add(f"jpeg-{photometric}-{bands}-{tiled}", smooth(bands, 205, 101), compress="JPEG", photometric=photometric, jpeg_quality=90, **layout)
    m.add("jpeg-planar", smooth(3, 205, 101), compress="JPEG", photometric="RGB", interleave="band", tiled=True, blockxsize=64, blockysize=64)
    for bands, lossless in itertools.product([3, 4], [True, False]):
        m.add(f"webp-{bands}-{lossless}", smooth(bands, 205, 101), compress="WEBP", webp_lossless=lossless, tiled=True, blockxsize=64, blockysize=64)

    # What the header says beside the pixels.
    def tell(d):
        d.scales, d.offsets = (0.0001, 0.5, 1.0), (-0.1, 3.0, 0.0)
        d.set_band_description(1, "red & <infra>")

    m.add("metadata", noise("int16", 3), after=tell, nodata=-32768)
    m.add("alpha", noise("uint8", 4), photometric="RGB", alpha="YES")
    m.add("gray-alpha", noise("uint16", 2), alpha="YES")
    m.add("white-is-zero", noise("uint8", 1), photometric="MINISWHITE")
    m.add("point", noise("uint8", 1), after=lambda d: d.update_tags(AREA_OR_POINT="Point"))
    m.add("rotated", noise("uint8", 1), transform=Affine(8, 3, 500000, 2, -9, 4000000))
    m.add("rotated-point", noise("uint8", 1), transform=Affine(8, 3, 500000, 2, -9, 4000000), after=lambda d: d.update_tags(AREA_OR_POINT="Point"))
    m.add("south-up", noise("uint8", 1), transform=Affine(10, 0, 500000, 0, 10, 4000000))
    m.add("no-place", noise("uint8", 1), crs=None, transform=None)
    for index, crs in enumerate([
        "+proj=utm +zone=52 +ellps=WGS84 +units=m", "+proj=laea +lat_0=40 +lon_0=127 +datum=WGS84 +units=m",
        "+proj=lcc +lat_1=30 +lat_2=60 +lat_0=38 +lon_0=126 +x_0=400000 +y_0=600000 +ellps=GRS80 +units=m",
        "+proj=aea +lat_1=25 +lat_2=47 +lat_0=10 +lon_0=125 +ellps=bessel +units=m", "+proj=sinu +lon_0=0 +R=6371007.181 +units=m",
        "+proj=tmerc +lat_0=38 +lon_0=127.5 +k=0.9999 +x_0=1000000 +y_0=2000000 +ellps=GRS80 +units=m",
        "+proj=stere +lat_0=90 +lat_ts=70 +lon_0=-45 +datum=WGS84 +units=m", "+proj=merc +lon_0=127 +k=1 +datum=WGS84 +units=us-ft",
        "+proj=lcc +lat_1=38 +lat_0=38 +lon_0=127 +k_0=0.9996 +datum=WGS84 +units=m", "+proj=aeqd +lat_0=39 +lon_0=126 +datum=WGS84",
        "+proj=longlat +a=6378000 +rf=298 +no_defs", "EPSG:5179", "EPSG:3857", "EPSG:4326", "EPSG:3413", "+proj=moll +lon_0=0 +datum=WGS84",
        "+proj=merc +lat_ts=41 +lon_0=127 +datum=WGS84", "+proj=cea +lat_ts=30 +lon_0=0 +datum=WGS84", "+proj=stere +lat_0=-90 +lat_ts=-71 +lon_0=0 +datum=WGS84",
        "+proj=sterea +lat_0=52 +lon_0=5 +k=0.9999 +x_0=155000 +y_0=463000 +ellps=bessel",
    ]):
        m.add(f"crs-{index}", noise("uint8", 1), crs=crs)
    write_index(m.entries, out)


def crs(pairs):
    """Largest distance between a PROJ string and the CRS of a file, near 38° N 127° E and at other places."""
    from pyproj import CRS, Proj

    found = []
    for pair in json.loads(pairs):
        with rasterio.open(pair["path"]) as d:
            theirs, ours = CRS.from_wkt(d.crs.to_wkt()), CRS.from_user_input(pair["crs"])
        if theirs.is_geographic:
            a, b = theirs.ellipsoid, ours.ellipsoid
            found.append(abs(a.semi_major_metre - b.semi_major_metre) + abs(a.inverse_flattening - b.inverse_flattening))
            continue
        south = -1 if "lat_0=-90" in pair["crs"] else 1
        points = [(127.0, 38.0 * south), (125.5, 41.2 * south), (129.0, 35.0 * south)]
        a, b = Proj(theirs), Proj(ours)
        found.append(max(np.hypot(*np.subtract(a(*p), b(*p))) for p in points))
    print(json.dumps(found))


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    {"dump": dump, "matrix": matrix, "crs": crs}[command](*arguments)
