// Temperatures where counts have a scale: under the pointer, at places that operators draw, and alarms on them.
const UNDER_MS = 200;
const SHAPES = { point: 1, box: 2, line: 2 };
let warmth = null, drawing = null, asking = false, last_seen = null, drawn_marks = "";

const degrees = (celsius) => celsius.toFixed(1) + " \u00b0C";
const text_of = (name, kind, places) =>
  name + "=" + kind + " " + places.map((place) => place.map((part) => Number(part.toFixed(4))).join()).join(" ");

function in_frame([x, y]) {                // of both halves side by side, either one is the frame
  if (own.view === "side") x = 2 * x - (x > 0.5 ? 1 : 0);
  return [Math.min(1, Math.max(0, x)), Math.min(1, Math.max(0, y))];
}

const columns = () => (own.view === "side" ? [0, 0.5] : [0]);
const on_stage = (x, offset) => offset + x / columns().length;

function tell_warmth(now) {
  warmth = now || null;
  at("warm").hidden = !now;
  at("measuring").hidden = !now || setup.role !== "operator";
  at("nowhere").querySelector("span").hidden = at("measuring").hidden;
  if (!now) { at("marks").replaceChildren(); at("names").replaceChildren(); return; }
  const hot = new Set(now.alarms.filter((one) => one.since !== null).map((one) => one.region));
  draw_marks(now, hot);
  list(now, hot);
  for (const [id, value] of [["emissivity", now.emissivity], ["reflected", now.reflected_celsius]])
    if (document.activeElement !== at(id)) at(id).value = value;
}

function draw_marks(now, hot) {
  const marks = [], names = [];
  for (const one of now.regions) for (const offset of columns()) {
    const [[x0, y0], [x1, y1]] = [one.at[0], one.at[one.at.length - 1]].map(([x, y]) => [100 * on_stage(x, offset), 100 * y]);
    const shape = document.createElementNS("http://www.w3.org/2000/svg", "path");
    shape.setAttribute("d", { box: `M${x0} ${y0}H${x1}V${y1}H${x0}Z`, line: `M${x0} ${y0}L${x1} ${y1}`,
                              point: `M${x0 - 1.5} ${y0}h3M${x0} ${y0 - 1.5}v3` }[one.kind]);
    shape.classList.toggle("alarm", hot.has(one.name));
    marks.push(shape);
    const name = document.createElement("p");
    const said = one.celsius ? (one.kind === "point" ? degrees(one.celsius[1]) : "max " + degrees(one.celsius[2])) : "";
    name.textContent = one.name + " " + said;
    name.classList.toggle("alarm", hot.has(one.name));
    name.style.left = `calc(var(--x) + var(--w) * ${Math.min(x0, x1) / 100})`;
    if (columns().length * (Math.min(x0, x1) / 100 - offset) > 0.6) name.classList.add("leftwards");
    name.style.top = `calc(var(--y) + var(--h) * ${Math.min(y0, y1) / 100})`;
    names.push(name);
  }
  at("marks").replaceChildren(...marks);
  at("names").replaceChildren(...names);
}

function list(now, hot) {
  const some = now.regions.length > 0;
  at("nowhere").hidden = some;
  at("warm").querySelector("table").hidden = at("alarm").hidden = !some;
  const key = JSON.stringify([now.regions, now.alarms]);
  if (key === drawn_marks || at("temperatures").contains(document.activeElement)) return;
  drawn_marks = key;
  const may_change = setup.role === "operator";
  at("temperatures").replaceChildren(...now.regions.map((one) => {
    const row = document.createElement("tr"), cells = [one.name, ...(one.celsius || ["", "", ""]).map((value) =>
      value === "" ? "" : degrees(value)), one.rise === null ? "" : one.rise.toFixed(1) + " K/min"];
    for (const text of cells) row.insertCell().textContent = text;
    row.classList.toggle("alarm", hot.has(one.name));
    if (may_change) row.cells[0].append(remove("place " + one.name, () => warm({
      measure: warmth.measure.filter((text) => !text.startsWith(one.name + "=")),
      alarm: warmth.alarm.filter((text) => !text.startsWith(one.name + " ")) })));
    const alarms = row.insertCell();
    now.alarms.forEach((alarm, index) => {
      if (alarm.region !== one.name) return;
      const since = alarm.since ? " since " + new Date(1000 * alarm.since).toLocaleTimeString() : "";
      alarms.append(alarm.kind + " " + alarm.limit + (alarm.kind === "rise" ? " K/min" : " \u00b0C") + since);
      if (may_change) alarms.append(remove("alarm " + now.alarm[index], () =>
        warm({ alarm: warmth.alarm.filter((_, other) => other !== index) })));
      alarms.append(" ");
    });
    return row;
  }));
  const chosen = at("whose").value;
  at("whose").replaceChildren(...now.regions.map((one) => new Option(one.name)));
  if (now.regions.some((one) => one.name === chosen)) at("whose").value = chosen;
}

function remove(what, press) {
  const one = button("\u00d7", press);
  one.ariaLabel = one.title = "remove " + what;
  return one;
}

async function warm(wanted) {
  wishes += 1;
  try {
    const answer = await answered("thermometer", { method: "POST", body: JSON.stringify(wanted),
                                                   headers: { "Content-Type": "application/json" } });
    const now = await answer.json();
    wishes += 1;
    at("said").textContent = answer.ok ? "" : now.error;
    if (answer.ok) { document.activeElement?.blur(); tell_warmth(now); }
  } catch (error) { at("said").textContent = "not changed: the server does not answer"; }
}

function draw_next(kind) {                 // the next press on the picture begins that shape
  drawing = drawing && drawing.kind === kind ? null : { kind };
  if (drawing && cover) begin_cover(cover.style);
  document.body.classList.toggle("drawing", Boolean(drawing));
  for (const one of at("draw").querySelectorAll("button"))
    one.ariaPressed = String(Boolean(drawing) && one.dataset.kind === drawing.kind);
}

function begin_mark(event) {
  const { kind } = drawing, from = in_frame(share_at(event));
  stage.setPointerCapture(event.pointerId);
  stage.addEventListener("pointerup", (end) => {
    const to = in_frame(share_at(end)), taken = new Set(warmth.regions.map((one) => one.name));
    let number = 1;
    while (taken.has(kind + number)) number += 1;
    draw_next(kind);
    warm({ measure: [...warmth.measure, text_of(kind + number, kind, SHAPES[kind] === 1 ? [from] : [from, to])] });
  }, { once: true });
}

async function ask_under() {               // what is under the pointer, which may have moved on meanwhile
  if (asking || !last_seen || !warmth) return;
  asking = true;
  const [x, y] = in_frame(last_seen.share);
  try {
    const now = await (await answered("temperature.json?x=" + x.toFixed(4) + "&y=" + y.toFixed(4))).json();
    at("under").textContent = typeof now.celsius === "number" ? degrees(now.celsius) : "";
  } catch (error) { at("under").textContent = ""; }
  setTimeout(() => { asking = false; ask_under(); }, UNDER_MS);
}

stage.addEventListener("pointermove", (event) => {
  const share = share_at(event), inside = share.every((part) => part >= 0 && part <= 1);
  last_seen = warmth && inside ? { share } : null;
  at("under").hidden = !last_seen;
  if (!last_seen) return;
  const box = stage.getBoundingClientRect();
  at("under").style.transform = `translate(${event.clientX - box.left + 14}px, ${event.clientY - box.top + 14}px)`;
  ask_under();
});
stage.addEventListener("pointerleave", () => { last_seen = null; at("under").hidden = true; });
for (const kind of Object.keys(SHAPES)) {
  const one = button(kind, () => draw_next(kind));
  one.dataset.kind = kind;
  one.ariaPressed = "false";
  at("draw").append(one);
}
at("emissivity").onchange = () => warm({ emissivity: Number(at("emissivity").value) });
at("reflected").onchange = () => warm({ reflected_celsius: Number(at("reflected").value) });
at("alarm").onsubmit = (event) => {
  event.preventDefault();
  warm({ alarm: [...warmth.alarm, at("whose").value + " " + at("kind").value + " " + Number(at("limit").value)] });
};
