// Privacy masks that an operator draws, by clicks or by keys: what lies under them nobody sees from then on.
const COVERS = { black: "black", blocks: "blocks", palette: "no color" };
const NEAR_PX = 12, KEY_STEP = 0.02;
let privacy = null, cover = null, told_masks = "";

function tell_masks(now) {
  privacy = now || null;
  at("privacy").hidden = !privacy || !(privacy.can_be_drawn || privacy.fixed.length);
  const key = JSON.stringify(privacy);
  if (!privacy || key === told_masks) return;
  told_masks = key;
  at("covering").hidden = !privacy.can_be_drawn;
  const named = (mask, index) => (mask.name || "mask " + (index + 1)) + ", " + (COVERS[mask.style] || mask.style);
  const fixed = privacy.fixed.map((mask) => item(mask.name + " (of the configuration)", null));
  at("masks").replaceChildren(...fixed, ...privacy.drawn.map((mask, index) =>
    item(named(mask, index), () => send({ masks: privacy.drawn.filter((_, other) => other !== index) }))));
  draw_cover();
}

function item(text, press) {
  const one = document.createElement("li");
  one.append(text);
  if (press) one.append(remove(text, press));
  return one;
}

function begin_cover(style) {              // the same button again gives it up
  cover = cover && cover.style === style ? null : { style, points: [], at: [0.5, 0.5], keys: false };
  if (cover && drawing) draw_next(drawing.kind);
  if (cover) stage.focus();
  tell_cover();
}

function tell_cover() {
  document.body.classList.toggle("drawing", Boolean(cover) || Boolean(drawing));
  for (const one of at("styles").querySelectorAll("button"))
    one.ariaPressed = String(Boolean(cover) && one.dataset.style === cover.style);
  at("close").hidden = !cover || cover.points.length < 3;
  const count = cover ? cover.points.length : 0;
  at("corners").textContent = !cover ? ""
    : count < 3 ? "Click its corners (" + count + " so far), or move the cross by the arrow keys and set one by the space bar."
    : count + " corners. Enter, or a click on the first one, closes it.";
  draw_cover();
}

function draw_cover() {
  const shapes = [], path = (d, kind) => {
    const shape = document.createElementNS("http://www.w3.org/2000/svg", "path");
    shape.setAttribute("d", d);
    shape.classList.add(kind);
    shapes.push(shape);
  };
  const line = (points, offset) => "M" + points.map(([x, y]) => 100 * on_stage(x, offset) + " " + 100 * y).join("L");
  for (const offset of columns()) {
    if (privacy && at("privacy").open) for (const mask of privacy.drawn) path(line(mask.points, offset) + "Z", "kept");
    if (!cover) continue;
    if (cover.points.length) path(line(cover.points, offset) + (cover.points.length > 2 ? "Z" : ""), "new");
    for (const [x, y] of cover.keys ? [...cover.points, cover.at] : cover.points)
      path(`M${100 * on_stage(x, offset) - 0.8} ${100 * y}h1.6M${100 * on_stage(x, offset)} ${100 * y - 1.2}v2.4`, "new");
  }
  at("covers").replaceChildren(...shapes);
}

function add_corner(place) {
  const [first] = cover.points, box = stage.getBoundingClientRect();
  const near = first && Math.hypot((place[0] - first[0]) * box.width, (place[1] - first[1]) * box.height) < NEAR_PX;
  if (near && cover.points.length > 2) { close_cover(); return; }
  cover.points.push(place.map((part) => Number(part.toFixed(4))));
  tell_cover();
}

function close_cover() {
  if (!cover || cover.points.length < 3) return;
  const { style, points } = cover;
  cover = null;
  tell_cover();
  send({ masks: [...privacy.drawn, { points, style, name: "" }] });
}

addEventListener("keydown", (event) => {   // before the keys of the page, which mean something else meanwhile
  if (!cover || event.ctrlKey || event.altKey || event.metaKey || event.key === "Tab") return;
  const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  const far = KEY_STEP * (event.shiftKey ? 5 : 1);
  if (step) {
    cover.keys = true;
    cover.at = cover.at.map((part, axis) => Math.min(1, Math.max(0, part + far * step[axis])));
    tell_cover();
  } else if (event.key === " ") { cover.keys = true; add_corner(cover.at); }
  else if (event.key === "Enter") close_cover();
  else if (event.key === "Backspace") { cover.points.pop(); tell_cover(); }
  else if (event.key === "Escape") begin_cover(cover.style);
  else return;
  event.preventDefault();
  event.stopImmediatePropagation();
}, true);

async function reload() {
  try {
    const answer = await answered("reload", { method: "POST", body: "{}", headers: { "Content-Type": "application/json" } });
    const now = await answer.json();
    at("reloaded").textContent = answer.ok ? now.changed.join("; ") || "nothing has changed" : now.error;
  } catch (error) { at("reloaded").textContent = "the server does not answer"; }
}

for (const style of Object.keys(COVERS)) {
  const one = button(COVERS[style], () => begin_cover(style));
  one.dataset.style = style;
  one.ariaPressed = "false";
  at("styles").append(one);
}
at("close").onclick = close_cover;
at("privacy").ontoggle = draw_cover;
at("reload").onclick = reload;
ready = true;
if (setup.control) tell_masks(setup.control.state.privacy);
