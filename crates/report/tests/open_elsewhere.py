"""Opens the results with the tools of others and checks what they see.

Usage: open_elsewhere.py PROVINCE NOTHING   (two folders of results, the second without any site)
"""

import csv
import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import geopandas
import pyarrow.parquet as parquet

REQUIRED = {
    "counties": """county_id county_name parent status coverage pixels surveyed_px gap_no_scene gap_cloud gap_nodata
        gap_unreadable gap_failed_job site_count factory_count factory_expected changed_ha factory_ha cropland_lost_ha
        extended_change_ha designated_year notes""".split(),
    "sites": """site_id county_id county_name area_ha lon lat class p_factory p_factory_low p_factory_high p_residential
        p_greenhouse p_other before_cover before_cover_share after_cover phase building_count largest_building_m2
        building_area_m2 elongation building_elongation station_name station_km station_bearing road_km town_name town_km
        town_bearing facility_name facility_km facility_bearing greenhouse_name greenhouse_km greenhouse_bearing
        before_from before_to after_from after_to designated_year truncated summary reasons scenes chip_before
        chip_after""".split(),
    "footprints": """footprint_id site_id county_id area_m2 length_m width_m elongation azimuth_deg
        rectangularity""".split(),
}
ROWS = {"province": {"counties": 6, "sites": 5, "footprints": 19}, "nothing": {"counties": 6, "sites": 0, "footprints": 0}}


def check_table(folder, name, rows):
    header = next(csv.reader(open(folder / f"{name}.csv", encoding="utf-8")))
    assert set(REQUIRED[name]) <= set(header), set(REQUIRED[name]) - set(header)

    schema = parquet.read_schema(folder / f"{name}.parquet")
    assert schema.names == header + ["geometry", "bbox"], schema.names
    assert str(schema.field("county_id").type) == "string"
    geo = json.loads(parquet.read_metadata(folder / f"{name}.parquet").metadata[b"geo"])
    assert geo["version"] == "1.1.0" and geo["columns"]["geometry"]["encoding"] == "WKB"
    assert parquet.read_metadata(folder / f"{name}.parquet").created_by.startswith("groundbreak ")

    frame = geopandas.read_parquet(folder / f"{name}.parquet")
    assert len(frame) == rows and frame.crs.to_string() == "OGC:CRS84", (len(frame), frame.crs)
    assert frame.geometry.is_valid.all() and not frame.geometry.is_empty.any()
    assert set(frame.geom_type) <= set(geo["columns"]["geometry"]["geometry_types"]), set(frame.geom_type)
    for polygon in frame.geometry.explode():
        assert polygon.exterior.is_ccw and not any(ring.is_ccw for ring in polygon.interiors)
    if rows:
        # geopandas filters by the covering boxes and then hides them.
        boxes = parquet.read_table(folder / f"{name}.parquet", columns=["bbox"])["bbox"].to_pylist()
        assert [list(box.values()) for box in boxes] == frame.geometry.bounds.to_numpy().tolist()
        west, south, east, north = frame.total_bounds
        assert geopandas.read_parquet(folder / f"{name}.parquet", bbox=(west, south, east, north)).shape == frame.shape
        far = geopandas.read_parquet(folder / f"{name}.parquet", bbox=(0, 0, 1, 1))
        assert len(far) == 0

    same = geopandas.read_file(folder / f"{name}.geojson")
    assert len(same) == rows
    if rows:
        assert same.crs.to_epsg() == 4326
        assert same.geometry.geom_equals(frame.geometry.set_crs(4326, allow_override=True)).all()
        assert list(same.columns) == header + ["geometry"]

    read = duckdb.sql(f"select * exclude (geometry, bbox) from read_parquet('{folder}/{name}.parquet')")
    assert read.columns == header
    assert len(read.fetchall()) == rows
    if rows:
        text = duckdb.sql(f"select * from read_csv('{folder}/{name}.csv', header = true)")
        assert text.columns == header and len(text.fetchall()) == rows

    if shutil.which("ogrinfo"):
        for file in (folder / f"{name}.geojson", folder / f"{name}.csv"):
            out = subprocess.run(["ogrinfo", "-ro", "-so", "-al", file], capture_output=True, text=True)
            assert out.returncode == 0 and f"Feature Count: {rows}" in out.stdout, (out.stdout, out.stderr)
            if file.suffix == ".geojson" and rows:
                assert "Polygon" in out.stdout and "WGS 84" in out.stdout, out.stdout
    return frame


def check_values(folder):
    counties = geopandas.read_parquet(folder / "counties.parquet").set_index("county_id")
    sites = geopandas.read_parquet(folder / "sites.parquet").set_index("site_id")
    footprints = geopandas.read_parquet(folder / "footprints.parquet")
    gaps = counties[[column for column in counties if column.startswith("gap_")]].sum(axis=1)
    assert (counties["surveyed_px"] + gaps == counties["pixels"]).all()
    assert counties.loc["KP0216", "county_name"].startswith("경성군")
    assert counties["site_count"].isna().sum() == 2 and counties.loc["KP0219", "site_count"] == 0

    factory = sites[sites["county_id"] == "KP0216"].query("`class` == 'factory'").iloc[0]
    assert str(factory["before_from"]) == "2023-10-02" and str(factory["after_to"]) == "2024-05-29"
    assert abs(factory[["p_factory", "p_residential", "p_greenhouse", "p_other"]].sum() - 1) < 1e-9
    assert factory["station_name"].endswith("경성역") and factory["station_bearing"] == "SW"
    assert (folder / factory["chip_before"]).is_file() and (folder / factory["chip_after"]).is_file()
    # Geometry against PROJ: back in the grid's CRS the lot is 220 m × 150 m less a yard of 22 m × 16 m.
    metres = sites.to_crs("EPSG:32652")
    assert abs(metres.loc[factory.name].geometry.area - (220 * 150 - 22 * 16)) < 5
    # The lot lies 1800 m east and 900 m south of the lattice's first cell.
    centre = metres.loc[factory.name].geometry.envelope.centroid
    assert abs(centre.x - 556_800) < 1 and abs(centre.y - 4_627_100) < 1, centre
    # Counties share borders: together they are as large as the sum of them.
    borders = counties.to_crs("EPSG:32652").geometry
    assert abs(borders.union_all().area / borders.area.sum() - 1) < 1e-6

    buildings = footprints[footprints["site_id"] == factory.name].to_crs("EPSG:32652")
    assert len(buildings) == factory["building_count"] == 4
    assert (abs(buildings.geometry.area - buildings["area_m2"]) < 2).all()
    assert buildings["area_m2"].max() == factory["largest_building_m2"] == 2310


def check_stac(folder):
    (path,) = (folder / "items").glob("*.json")
    item = json.loads(path.read_text(encoding="utf-8"))
    assert item["type"] == "Feature" and item["stac_version"] == "1.1.0" and item["id"] == "hamgyong-7f3a91"
    assert item["properties"]["datetime"] is None
    assert item["properties"]["start_datetime"] == "2023-10-02T02:11:37Z"
    assert item["properties"]["end_datetime"] == "2024-05-29T02:11:37Z"
    assert item["properties"]["proj:code"] == "EPSG:32652"
    for asset in item["assets"].values():
        content = (path.parent / asset["href"]).resolve().read_bytes()
        assert len(content) == asset["file:size"]
        assert "1220" + hashlib.sha256(content).hexdigest() == asset["file:checksum"]
    hull = geopandas.GeoDataFrame.from_features([item], crs=4326).geometry[0]
    counties = geopandas.read_parquet(folder / "counties.parquet").geometry
    assert hull.is_valid and counties.within(hull.buffer(1e-4)).all()
    try:
        import pystac
    except ImportError:
        print("skipped: validation with pystac, which is not installed")
        return
    pystac.Item.from_dict(item)
    # The core schemas come with pystac; those of the extensions would have to be fetched.
    core = {**item, "stac_extensions": []}
    try:
        pystac.validation.validate_dict(core)
    except ImportError:
        print("skipped: validation against the STAC schema, jsonschema is not installed")


def main():
    for folder, kind in zip(map(Path, sys.argv[1:3]), ("province", "nothing")):
        for name, rows in ROWS[kind].items():
            check_table(folder, name, rows)
    province = Path(sys.argv[1])
    check_values(province)
    check_stac(province)
    print("geopandas, pyarrow, duckdb and ogrinfo agree")


main()
