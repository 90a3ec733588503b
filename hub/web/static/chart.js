// Draws the usage chart. The hub aggregates to pixel columns, so a chart never holds more points than
// it is wide; zooming and moving ask again. Words and table come from the hub, in its language.
(() => {
  "use strict";
  const figure = document.querySelector("[data-chart]");
  const form = document.querySelector("[data-chart-form]");
  if (!figure || !form || typeof uPlot === "undefined") return;
  const part = (name) => document.querySelector(`[data-${name}]`);
  const plotBox = part("plot"), readout = part("readout"), sentence = part("sentence");
  const rows = part("rows"), marks = part("marks"), failed = part("failed");
  const zone = figure.dataset.zone, language = figure.dataset.locale;
  const HEIGHT = 272, MIN_SPAN = 10_000, LIVE_MS = 5_000, GAP = 6;
  // Three significant digits, and what is before the point in full: as the server writes them.
  const numbers = [0, 1, 2, 3, 4, 5, 6].map((most) => new Intl.NumberFormat(language, { maximumFractionDigits: most }));
  const number = {
    format: (value) => numbers[Math.min(Math.max(2 - Math.floor(Math.log10(Math.abs(value) || 1)), 0), 6)].format(value),
  };
  const axisNumber = new Intl.NumberFormat(language, { maximumFractionDigits: 3 });
  const format = (options) => new Intl.DateTimeFormat(language, { timeZone: zone, ...options });
  const second = format({ hour: "2-digit", minute: "2-digit", second: "2-digit" });
  const minute = format({ hour: "2-digit", minute: "2-digit" });
  const day = format({ day: "numeric", month: "short" });
  const full = format({ dateStyle: "medium", timeStyle: "medium" });

  let view = null;      // { start, end, live }: ms; live follows the present
  let plot = null, shown = null, wanted = 0, width = 0, lastLive = 0, pressed = false;

  const chosenMetric = () => form.elements.metric.value;
  const chosenUnit = () => form.elements.metric.selectedOptions[0].dataset.unit;
  const chosenLength = () => Number(form.querySelector("input[name=range]:checked").dataset.length);
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

  function follow() {
    // A chart of the past ends where that time ended, and follows nothing.
    const past = Number(figure.dataset.end || 0), end = past || Date.now();
    view = { start: end - chosenLength(), end, live: !past };
  }

  async function load() {
    const turn = ++wanted;
    width = Math.max(200, Math.floor(plotBox.clientWidth));
    const query = new URLSearchParams({
      metric: chosenMetric(), start: Math.round(view.start), end: Math.round(view.end),
      columns: Math.min(2000, Math.round(width * Math.min(2, devicePixelRatio || 1) / 1.5)),
    });
    plotBox.dataset.busy = "";
    try {
      const answer = await fetch(`${figure.dataset.series}?${query}`, { headers: { Accept: "application/json" } });
      if (!answer.ok) throw new Error(String(answer.status));
      const found = await answer.json();
      if (turn !== wanted || (pressed && view.live)) return;  // somebody moved on, or is about to
      show(found);
      failed.hidden = true;
    } catch {
      if (turn === wanted) failed.hidden = false;
    } finally {
      if (turn === wanted) delete plotBox.dataset.busy;
    }
  }

  // Where nothing was measured for long, the line is broken, not drawn across.
  function broken(found) {
    const steps = found.time.slice(1).map((time, i) => time - found.time[i]).sort((a, b) => a - b);
    const usual = steps.length ? steps[Math.floor(steps.length / 2)] : 0;
    const data = [[], [], [], []];
    found.time.forEach((time, i) => {
      if (i && time - found.time[i - 1] > GAP * usual) {
        data[0].push((time + found.time[i - 1]) / 2);
        data[1].push(null); data[2].push(null); data[3].push(null);
      }
      data[0].push(time); data[1].push(found.min[i]); data[2].push(found.max[i]); data[3].push(found.mean[i]);
    });
    return data;
  }

  function show(found) {
    shown = found;
    const data = broken(found);
    if (plot) plot.destroy();
    plot = new uPlot(options(), data, plotBox);
    figure.dataset.points = String(found.time.length);
    sentence.textContent = found.sentence;
    rows.replaceChildren(...found.rows.map(row));
    marks.replaceChildren(...found.findings.map(mark));
    marks.hidden = !found.findings.length;
  }

  function options() {
    const line = colour("accent"), soft = colour("soft"), grid = colour("line");
    const span = view.end - view.start;
    const tick = span <= 600_000 ? second : span <= 2 * 86_400_000 ? minute : day;
    const font = "12px system-ui, sans-serif";
    const quiet = { stroke: "transparent", width: 0, points: { show: false } };
    return {
      width, height: HEIGHT, ms: 1, padding: [14, 22, 0, 0],
      tzDate: (time) => uPlot.tzDate(new Date(time), zone),
      legend: { show: false },
      cursor: { drag: { x: true, y: false, setScale: false, dist: 6 }, points: { size: 7 }, y: false },
      scales: { x: { time: true, range: () => [view.start, view.end] } },
      axes: [
        { stroke: soft, font, grid: { show: false }, ticks: { stroke: grid, size: 4 }, space: 64,
          values: (_, splits) => splits.map((time) => tick.format(time)) },
        { stroke: soft, font, grid: { stroke: grid, width: 1 }, ticks: { show: false }, size: 52,
          values: (_, splits) => splits.map((value) => axisNumber.format(value)) },
      ],
      series: [{}, quiet, quiet, { stroke: line, width: 1.75, points: { show: shown.time.length < 60, size: 5, fill: line } }],
      bands: [{ series: [2, 1], fill: colour("band") }],
      hooks: { draw: [drawMarks], setSelect: [zoomTo], setCursor: [tell] },
    };
  }

  function drawMarks(u) {
    const context = u.ctx, scale = devicePixelRatio || 1, { left, top, width: wide, height } = u.bbox;
    context.save();
    for (const finding of shown.findings) {
      const x = u.valToPos(finding.at, "x", true), from = Math.max(left, u.valToPos(finding.since, "x", true));
      if (x < left || x > left + wide) continue;
      context.fillStyle = context.strokeStyle = colour(finding.severity === "notice" ? "field" : finding.severity);
      context.globalAlpha = 0.1;
      context.fillRect(from, top, Math.max(1, x - from), height);
      context.globalAlpha = 0.9;
      context.lineWidth = 1.5 * scale;
      context.beginPath(); context.moveTo(x, top); context.lineTo(x, top + height); context.stroke();
      context.beginPath(); context.arc(x, top, 4.5 * scale, 0, 2 * Math.PI); context.fill();
    }
    context.restore();
  }

  function tell(u) {
    const at = u.cursor.idx;
    if (at == null || u.data[3][at] == null) { readout.textContent = "\u00a0"; return; }
    const [time, low, high, mean] = u.data.map((column) => column[at]);
    const band = low === high ? "" : ` (${number.format(low)} – ${number.format(high)})`;
    readout.textContent = `${full.format(time)}   ${number.format(mean)}${band} ${chosenUnit()}`;
  }

  function zoomTo(u) {
    if (u.select.width < 6) return;
    move(u.posToVal(u.select.left, "x"), u.posToVal(u.select.left + u.select.width, "x"));
  }

  function move(start, end) {
    const now = Date.now();
    let span = Math.max(MIN_SPAN, end - start);
    const middle = (start + end) / 2;
    start = middle - span / 2; end = middle + span / 2;
    if (end > now) { start -= end - now; end = now; }
    view = { start: Math.max(0, start), end, live: false };
    load();
  }

  function row(found) {
    const line = document.createElement("tr"), head = document.createElement("th"), time = document.createElement("time");
    head.scope = "row"; time.dateTime = found.at; time.textContent = found.time; head.append(time); line.append(head);
    for (const value of [found.min, found.mean, found.max]) {
      const cell = document.createElement("td"); cell.textContent = value; line.append(cell);
    }
    return line;
  }

  function mark(found) {
    const item = document.createElement("li"), time = document.createElement("time"), text = document.createElement("span");
    item.className = found.severity; time.textContent = found.when;
    time.dateTime = new Date(found.at).toISOString(); text.textContent = found.sentence;
    item.append(text, time);
    return item;
  }

  form.addEventListener("change", (event) => {
    if (event.target.name === "range" || !view || view.live) follow();
    load();
  });
  form.addEventListener("submit", (event) => { event.preventDefault(); load(); });
  figure.addEventListener("click", (event) => {
    const way = event.target.closest("[data-move]")?.dataset.move;
    if (!way || !view) return;
    const { start, end } = view, span = end - start;
    if (way === "in") move(start + span / 4, end - span / 4);
    else if (way === "out") move(start - span / 2, end + span / 2);
    else if (way === "earlier") move(start - span / 2, end - span / 2);
    else if (way === "later") move(start + span / 2, end + span / 2);
    else { follow(); load(); }
  });
  document.body.addEventListener("htmx:sseMessage", (event) => {
    if (event.detail.type !== "values" || !view?.live || document.hidden) return;
    if (pressed || plotBox.matches(":hover")) return;  // never under somebody's finger
    if (Date.now() - lastLive < LIVE_MS) return;
    lastLive = Date.now(); follow(); load();
  });
  plotBox.addEventListener("pointerdown", () => { pressed = true; });
  for (const end of ["pointerup", "pointercancel"]) document.addEventListener(end, () => { pressed = false; });
  let resizing = 0;
  new ResizeObserver(() => {
    clearTimeout(resizing);
    resizing = setTimeout(() => { if (view && Math.floor(plotBox.clientWidth) !== width) load(); }, 150);
  }).observe(plotBox);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { if (shown) show(shown); });
  follow(); load();
})();
