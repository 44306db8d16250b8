// Keeps the page fresh: asks how the survey stands, fetches the parts that are another, and puts them in the place of the
// old ones. What the reader has done (scrolled, swiped, filtered, sorted, zoomed, focussed) is done again on the new ones.
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const one = (selector, root = document) => root.querySelector(selector);
  const { build } = document.body.dataset;
  // Addresses are relative to the page that was loaded; the county that is open is the query of the one that is shown.
  const address = (path) => {
    const url = new URL(path, document.baseURI);
    url.search = location.search;
    return url;
  };
  // The shortest and the longest pause between two questions, ms; a slow answer is asked for less often.
  const PAUSE = 1000, IDLE = 10000, PATIENCE = 30000;

  let ended = null;
  // A chip's shape is known when it is there.
  const shape = (image) => {
    if (image.naturalWidth) image.closest(".frame")?.style.setProperty("--ratio", `${image.naturalWidth} / ${image.naturalHeight}`);
  };
  document.addEventListener("load", (event) => { if (event.target.matches?.(".frame img")) shape(event.target); }, true);

  const start = (from) => {
    ended?.abort();
    if (!one("#county-table")) return;
    ended = new AbortController();
    const { signal } = ended;
    startPage({ addEventListener: (kind, handler) => window.addEventListener(kind, handler, { signal }) }, from);
  };

  // A way to find an element's successor.
  const name = (element) => {
    if (!element || element === document.body) return null;
    if (element.id) return `#${CSS.escape(element.id)}`;
    const card = element.closest(".card");
    if (card && element.matches("input")) return `#${CSS.escape(card.id)} input`;
    if (card && element.matches("summary, button")) return `#${CSS.escape(card.id)} ${element.localName}`;
    if (element.matches("tr[data-county]")) return `tr[data-county="${CSS.escape(element.dataset.county)}"]`;
    if (element.matches("a[href]")) return `a[href="${CSS.escape(element.getAttribute("href"))}"]`;
    if (element.matches("input[name]")) return `input[name="${CSS.escape(element.name)}"][value="${CSS.escape(element.value)}"]`;
    if (element.matches("[data-zoom]")) return `[data-zoom="${element.dataset.zoom}"]`;
    const head = element.closest("#county-table thead th");
    return head ? `#county-table thead th:nth-child(${head.cellIndex + 1}) button` : null;
  };
  const put = (element, kind) => element.dispatchEvent(new Event(kind, { bubbles: true }));

  // What the reader sees at the top of the window, and where.
  const anchor = () => {
    const seen = all("main [id], main tr[data-county]").find((element) => {
      const { top, height } = element.getBoundingClientRect();
      return height > 0 && !element.closest("svg, [hidden]") && top > -40;
    });
    return { at: name(seen), top: seen?.getBoundingClientRect().top };
  };

  const view = () => {
    const [x, y, w, h] = one("#map svg")?.getAttribute("viewBox").split(" ").map(Number) ?? [];
    return h === undefined ? {} : { x, y, w, h };
  };

  const keep = () => ({
    anchor: anchor(),
    focus: name(document.activeElement),
    selection: [document.activeElement?.selectionStart, document.activeElement?.selectionEnd],
    swipes: all(".card .frame input").map((input) => [name(input), input.value]),
    why: all(".card details").map((details) => [`#${CSS.escape(details.closest(".card").id)} details`, details.open]),
    fields: all("#county-filters input, #county-filters select, #site-filters input")
      .map((field) => [name(field), field.type === "checkbox" ? field.checked : field.value]),
    sort: all("#county-table th[aria-sort]").map((head) => [`#county-table thead th:nth-child(${head.cellIndex + 1})`, head.getAttribute("aria-sort")]),
    view: view(),
    images: new Map(all(".card img").map((image) => [image.getAttribute("src"), image])),
  });

  const restore = (kept) => {
    for (const [at, value] of kept.fields) {
      const field = at && one(at);
      if (!field) continue;
      if (field.type === "checkbox") field.checked = value; else field.value = value;
      put(field, "input");
    }
    for (const [at, direction] of kept.sort) {
      for (let click = 0; click < 2 && one(at) && one(at).getAttribute("aria-sort") !== direction; click += 1) one("button", one(at))?.click();
    }
    for (const [at, value] of kept.swipes) {
      const input = one(at);
      if (input) { input.value = value; put(input, "input"); }
    }
    for (const [at, open] of kept.why) {
      const details = one(at);
      if (details) details.open = open;
    }
  };
  const refocus = (kept) => {
    const focus = kept.focus && one(kept.focus);
    if (focus && focus !== document.activeElement) {
      focus.focus({ preventScroll: true });
      if (focus.type === "search" && kept.selection[0] !== null) focus.setSelectionRange(...kept.selection);
    }
  };
  // What was at the top of the window is there again.
  const settle = (kept) => {
    const seen = kept.anchor.at && one(kept.anchor.at);
    if (seen) window.scrollBy({ top: seen.getBoundingClientRect().top - kept.anchor.top, behavior: "instant" });
  };

  // Nothing is replaced under a hand.
  let held = false;
  addEventListener("pointerdown", () => { held = true; }, true);
  for (const kind of ["pointerup", "pointercancel", "blur"]) addEventListener(kind, () => { setTimeout(() => { held = false; }); }, true);
  const released = async () => { while (held) await new Promise((done) => setTimeout(done, 100)); };

  const ask = async (url, read) => {
    const answer = await fetch(url, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
    if (!answer.ok) throw new Error(`${answer.status}`);
    return answer[read]();
  };

  const replace = (old, fresh) => {
    const kept = keep();
    document.adoptNode(fresh);
    // A picture that is loaded stays.
    all("img", fresh).forEach((image) => {
      const loaded = kept.images.get(image.getAttribute("src"));
      if (loaded) image.replaceWith(loaded);
    });
    const hadFocus = old.contains(document.activeElement);
    old.replaceWith(fresh);
    all(".frame img", fresh).forEach(shape);
    if (fresh.dataset.part === "findings") {
      start(kept.view);
      restore(kept);
    }
    if (hadFocus) refocus(kept);
    settle(kept);
  };

  const refresh = async () => {
    const now = await ask(address(document.body.dataset.api), "json");
    if (now.page.build !== build) return location.reload();
    document.title = now.page.title;
    for (const [part, version] of Object.entries(now.page.parts)) {
      const old = one(`[data-part="${CSS.escape(part)}"]`);
      if (!old || old.dataset.version === version) continue;
      const text = await ask(address(document.body.dataset.parts + part), "text");
      const fresh = one("[data-part]", new DOMParser().parseFromString(text, "text/html"));
      await released();
      if (fresh) replace(old, fresh);
    }
    return now.page.over ? IDLE : PAUSE;
  };

  let due = null, asking = false;
  const turn = async () => {
    clearTimeout(due);
    if (asking || document.hidden) return;
    asking = true;
    const begun = performance.now();
    let pause = PAUSE;
    try {
      pause = await refresh() ?? IDLE;
      one("#lost").hidden = true;
    } catch {
      one("#lost").hidden = false;
      pause = PAUSE * 3;
    }
    asking = false;
    due = setTimeout(turn, Math.max(pause, Math.min(IDLE, 2 * (performance.now() - begun))));
  };
  document.addEventListener("visibilitychange", turn);

  // A county opens in place: its link leads to the same page with that county, which is put in place of this one.
  const open = async (href) => {
    history.pushState(null, "", href);
    while (asking) await new Promise((done) => setTimeout(done, 50));
    await turn();
    one("#h-sites")?.scrollIntoView({ block: "start" });
  };
  addEventListener("popstate", turn);
  const linkOf = (county) => one(`#county-table tr[data-county="${CSS.escape(county)}"] th a`);
  document.addEventListener("click", (event) => {
    if (event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    let link = event.target.closest("#county-table th a, .hint > a[href]");
    const county = event.target.closest("#map .county");
    if (county && !event.target.closest("a") && !one("#map").classList.contains("dragging")) {
      event.stopPropagation();
      link = linkOf(county.dataset.county);
    }
    if (!link) return;
    event.preventDefault();
    open(link.getAttribute("href"));
  }, true);
  document.addEventListener("dblclick", (event) => {
    if (event.target.closest("#county-table tr")) event.stopPropagation();
  }, true);

  all(".frame img").forEach(shape);
  start({});
  due = setTimeout(turn, PAUSE);
})();
