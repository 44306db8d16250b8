  const unitsPerPixel = () => Math.max(view.w / (svg.clientWidth || full.w), view.h / (svg.clientHeight || full.h));
  const draw = () => {
    svg.setAttribute("viewBox", `${view.x} ${view.y} ${view.w} ${view.h}`);
    const k = unitsPerPixel();
    svg.style.setProperty("--k", k);
    stage.classList.toggle("zoomed", view.w < full.w * 0.98);
    stage.classList.toggle("close", k * metresPerUnit < 12);
    const room = 130 * k * metresPerUnit;
    const decade = 10 ** Math.floor(Math.log10(room));
    const metres = [5, 2, 1].map((step) => step * decade).find((length) => length <= room);
    one("#scale-bar").style.width = `${metres / metresPerUnit / k}px`;
    one("#scale-text").textContent = metres < 1000 ? `${metres} m` : `${metres / 1000} km`;
    // Hatches keep their width on the screen.
    for (const [id, angle] of [["unseen", 45], ["partly", 45]]) {
      one(`#${id}`).setAttribute("patternTransform", `scale(${k}) rotate(${angle})`);
    }
  };
  const clamp = () => {
    view.x = Math.min(Math.max(view.x, full.x - view.w / 2), full.x + full.w - view.w / 2);
    view.y = Math.min(Math.max(view.y, full.y - view.h / 2), full.y + full.h - view.h / 2);
  };
  const zoom = (factor, x = view.x + view.w / 2, y = view.y + view.h / 2) => {
    const w = Math.min(full.w, Math.max(view.w / factor, 60 / metresPerUnit));
    const scale = w / view.w;
    view = { x: x - (x - view.x) * scale, y: y - (y - view.y) * scale, w, h: full.h * w / full.w };
    if (w === full.w) view = { ...full };
    clamp();
    draw();
  };
  const move = (x, y) => { view.x += x; view.y += y; clamp(); draw(); };
  const place = (event) => {
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    return [point.x, point.y];
  };
  stage.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey && document.activeElement !== stage) return;
    event.preventDefault();
    zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.002)), ...place(event));
  }, { passive: false });
  stage.addEventListener("dblclick", (event) => { event.preventDefault(); zoom(2.5, ...place(event)); });
  stage.addEventListener("keydown", (event) => {
    const keys = {
      ArrowLeft: () => move(-view.w / 8, 0), ArrowRight: () => move(view.w / 8, 0),
      ArrowUp: () => move(0, -view.h / 8), ArrowDown: () => move(0, view.h / 8),
      "+": () => zoom(1.6), "=": () => zoom(1.6), "-": () => zoom(1 / 1.6), 0: () => { view = { ...full }; draw(); },
    };
    if (!keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    keys[event.key]();
  });
  all("[data-zoom]", stage).forEach((button) => button.addEventListener("click", () => {
    if (button.dataset.zoom === "all") { view = { ...full }; draw(); } else zoom(button.dataset.zoom === "in" ? 1.8 : 1 / 1.8);
  }));
  let drag = null;
  svg.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    drag = { at: place(event), x: event.clientX, y: event.clientY, moved: false };
  });
  window.addEventListener("pointermove", (event) => {
    if (!drag) return;
    if (!drag.moved && Math.hypot(event.clientX - drag.x, event.clientY - drag.y) < 4) return;
    drag.moved = true;
    stage.classList.add("dragging");
    const [x, y] = place(event);
    move(drag.at[0] - x, drag.at[1] - y);
  });
  window.addEventListener("pointerup", () => { if (drag) setTimeout(() => { drag = null; stage.classList.remove("dragging"); }); });
  svg.addEventListener("click", (event) => {
    if (drag?.moved) return event.preventDefault();
    const county = event.target.closest(".county");
    if (county && !event.target.closest("a")) choose(county.dataset.county);
  });

  const tip = one("#map-tip");
  stage.addEventListener("pointermove", (event) => {
    const target = event.target.closest?.("[data-tip]");
    tip.hidden = !target || Boolean(drag?.moved);
    if (tip.hidden) return;
    const [title, id, ...words] = target.dataset.tip.split("|");
    const bold = document.createElement("b");
    bold.textContent = title;
    if (id) {
      const small = document.createElement("i");
      small.textContent = id;
      bold.append(small);
    }
    tip.replaceChildren(bold, words.join("|"));
    const frame = stage.getBoundingClientRect();
    const x = event.clientX - frame.left, y = event.clientY - frame.top;
    tip.style.left = `${Math.min(x + 14, frame.width - tip.offsetWidth - 6)}px`;
    tip.style.top = `${y + tip.offsetHeight + 24 > frame.height ? y - tip.offsetHeight - 10 : y + 16}px`;
  });
  stage.addEventListener("pointerleave", () => { tip.hidden = true; });

  all(".to-map").forEach((button) => button.addEventListener("click", () => {
    const marker = markers.find((marker) => one("a", marker).getAttribute("href") === `#${button.dataset.site}`);
    if (!marker) return;
    const { e: x, f: y } = marker.transform.baseVal.getItem(0).matrix;
    const w = Math.min(full.w, Math.max(700 / metresPerUnit, full.w / 200));
    view = { x: x - w / 2, y: y - (full.h * w / full.w) / 2, w, h: full.h * w / full.w };
    draw();
    markers.forEach((other) => other.classList.toggle("found", other === marker));
    stage.scrollIntoView({ block: "center" });
    stage.focus({ preventScroll: true });
  }));
  new ResizeObserver(draw).observe(svg);
  draw();
  showSites();
