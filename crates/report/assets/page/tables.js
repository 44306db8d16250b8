  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const one = (selector, root = document) => root.querySelector(selector);
  document.documentElement.classList.add("js");
  all(".filters, .map-buttons, .to-map, .frame input").forEach((element) => { element.hidden = false; });
  one("#county-clear")?.setAttribute("hidden", "");

  // Swipe: a range input over the picture, so that keys, touch and mouse work alike.
  all(".frame").forEach((frame) => {
    const input = one("input", frame);
    input.addEventListener("input", () => frame.style.setProperty("--at", input.value + "%"));
  });

  // Sites: which are shown.
  const cards = all(".card");
  const markers = all(".marker");
  const outlines = all(".outlines > g");
  let chosen = null;
  const showSites = () => {
    const classes = new Set(all("#site-filters [name=class]:checked").map((box) => box.value));
    const from = Number(one("#p-from")?.value ?? 0);
    const fits = (element, percent) =>
      classes.has(element.dataset.class) && percent >= from && (chosen === null || element.dataset.county === chosen);
    let shown = 0;
    cards.forEach((card) => {
      card.hidden = !fits(card, Number(card.dataset.p));
      shown += card.hidden ? 0 : 1;
    });
    markers.forEach((marker, index) => {
      const hidden = !fits(marker, Number(marker.dataset.p) * 100);
      marker.style.display = hidden ? "none" : "";
      if (outlines[index]) outlines[index].style.display = hidden ? "none" : "";
    });
    if (one("#p-from-text")) one("#p-from-text").textContent = (from / 100).toFixed(2);
    if (one("#site-shown")) one("#site-shown").textContent = shown === cards.length ? "" : `${shown} of ${cards.length} shown`;
  };
  const choose = (county) => {
    chosen = chosen === county ? null : county;
    all(".county, #county-table tbody tr").forEach((element) =>
      element.classList.toggle("chosen", chosen !== null && element.dataset.county === chosen));
    const clear = one("#county-clear");
    if (clear) {
      clear.hidden = chosen === null;
      const row = all("#county-table tbody tr").find((row) => row.dataset.county === chosen);
      clear.textContent = chosen === null ? "" : `${row ? one("th", row).dataset.v : chosen} only  ✕`;
    }
    showSites();
  };
  one("#site-filters")?.addEventListener("input", showSites);
  one("#county-clear")?.addEventListener("click", () => choose(chosen));

  // Counties: find, filter, sort.
  const table = one("#county-table");
  const rows = all("tbody tr", table);
  const showRows = () => {
    const words = one("#county-find").value.trim().toLocaleLowerCase();
    const status = one("#county-status").value;
    const factories = one("#county-factories").checked;
    let shown = 0;
    rows.forEach((row) => {
      row.hidden = !((words === "" || row.textContent.toLocaleLowerCase().includes(words))
        && (status === "" || row.dataset.status === status)
        && (!factories || Number(row.dataset.factories) > 0));
      shown += row.hidden ? 0 : 1;
    });
    one("#county-shown").textContent = shown === rows.length ? "" : `${shown} of ${rows.length} shown`;
  };
  one("#county-filters").addEventListener("input", showRows);
  one("#county-filters").addEventListener("submit", (event) => event.preventDefault());
  rows.forEach((row) => row.addEventListener("dblclick", () => choose(row.dataset.county)));
  // A cell over several columns stands for each of them.
  const cell = (row, column) => {
    let at = 0;
    for (const candidate of row.cells) {
      at += candidate.colSpan;
      if (column < at) return candidate;
    }
    return null;
  };
  all("thead th", table).forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const numeric = head.classList.contains("num");
      const descending = head.hasAttribute("aria-sort") ? head.getAttribute("aria-sort") === "ascending" : numeric;
      all("thead th", table).forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      const value = (row) => cell(row, column)?.dataset.v ?? cell(row, column)?.textContent.trim() ?? "";
      const compare = numeric
        ? (a, b) => Number(value(a)) - Number(value(b))
        : (a, b) => value(a).localeCompare(value(b));
      rows.sort((a, b) => (descending ? compare(b, a) : compare(a, b)));
      one("tbody", table).append(...rows);
    });
  });

  // The map.
  const stage = one("#map");
  if (!stage) return showSites();
  const svg = one("svg", stage);
  const full = { x: 0, y: 0, w: Number(svg.dataset.width), h: Number(svg.dataset.height) };
  const metresPerUnit = Number(svg.dataset.metresPerUnit);
