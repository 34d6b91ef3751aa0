// Figures in words, each with its last two minutes as a small chart; nothing is drawn while nobody looks.
const KEPT = 120, WIDE = 120, HIGH = 28;
const series = {}, heading = document.querySelector("h1");
let counted_cpu = null, counted_drops = null;

function note(name, value, words) {
  const one = series[name] = series[name] || { values: [] };
  one.values.push(value);
  if (one.values.length > KEPT) one.values.shift();
  one.words = words;
}

function spark(values) {
  const known = values.filter((value) => value !== null), top = Math.max(...known, 1e-9);
  const step = WIDE / (KEPT - 1), first = KEPT - values.length;
  let path = "", pen = "M";
  values.forEach((value, index) => {
    if (value === null) { pen = "M"; return; }
    path += pen + ((first + index) * step).toFixed(1) + " " + (HIGH - 2 - (HIGH - 4) * value / top).toFixed(1);
    pen = "L";
  });
  return path;
}

function chart(figures) {
  const now_s = performance.now() / 1000, live_now = (figures.state || "live") === "live";
  const latency = delay_ms(figures);
  note("rate", live_now ? figures.fps : null, figures.fps.toFixed(1) + " pictures a second");
  if (latency !== undefined) note("delay", latency || null, latency ? latency.toFixed(0) + " ms to the picture" : "no picture");
  if (figures.cpu_s !== undefined) {
    const share = counted_cpu ? 100 * (figures.cpu_s - counted_cpu.cpu_s) / (now_s - counted_cpu.at) : null;
    counted_cpu = { cpu_s: figures.cpu_s, at: now_s };
    if (share !== null && share >= 0) note("processor", share, (share / 100).toFixed(1) + " of " + figures.cores + " cores");
  }
  const gpus = figures.gpus || [], gibibytes = (bytes) => (bytes / 2 ** 30).toFixed(1);
  gpus.forEach((one, index) => {
    const name = gpus.length > 1 ? "GPU " + (index + 1) : "GPU";
    if (one.busy !== null) note(name, 100 * one.busy, (100 * one.busy).toFixed(0) + " % of " + one.name);
    if (one.total_bytes) note(name + " memory", one.used_bytes, gibibytes(one.used_bytes) + " of " + gibibytes(one.total_bytes) + " GiB");
  });
  if (figures.dropped_before_processing !== undefined) {
    const drops = figures.dropped_before_processing, more = counted_drops === null ? 0 : Math.max(0, drops - counted_drops);
    counted_drops = drops;
    note("dropped", more, drops + " gave way to newer");
  }
  if (typeof figures.flicker === "number")
    note("flicker", figures.flicker, figures.flicker.toFixed(2) + " a*b* a frame");
  for (const [name, one] of Object.entries(figures.stages || {}))
    if (typeof one.p50_ms === "number") note(name.replaceAll("_", " "), one.p50_ms,
      one.p50_ms.toFixed(1) + " ms, p95 " + one.p95_ms.toFixed(1));
  at("runs").textContent = figures.engine ? "Colored by " + figures.engine + ", " + figures.viewers
    + (figures.viewers === 1 ? " viewer." : " viewers.") : "";
  if (heading.title) at("runs").textContent += " Source: " + heading.title;
  if (at("charts").open) draw_charts();
}

function draw_charts() {
  const place = at("sparks");
  for (const [name, one] of Object.entries(series)) {
    let row = place.querySelector(`[data-of="${name}"]`);
    if (!row) {
      row = document.createElement("div");
      row.dataset.of = name;
      row.innerHTML = `<b></b><svg viewBox="0 0 ${WIDE} ${HIGH}" aria-hidden="true"><path/></svg><span></span>`;
      row.firstChild.textContent = name;
      place.append(row);
    }
    row.querySelector("path").setAttribute("d", spark(one.values));
    row.querySelector("span").textContent = one.words;
  }
}
at("charts").ontoggle = draw_charts;
// A page that stands upright and has room beneath its controls shows them unasked.
const ROOM_PX = 240;
if (matchMedia("(orientation: portrait)").matches
    && innerHeight - at("panels").getBoundingClientRect().bottom > ROOM_PX) at("charts").open = true;
