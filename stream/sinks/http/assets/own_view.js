// A viewer's own view, put together here from a stream that carries both halves: nobody else's picture changes.
const OWN = { run: "as sent", color: "color", raw: "raw", side: "side by side", wipe: "wipe", blend: "blend",
              confidence: "confidence" };
const NAMES = Object.keys(OWN), FEEDS = { run: "run", confidence: "confidence" };
const stage = document.querySelector("main"), view = at("view"), line = at("line"), slider = at("place").querySelector("input");
const still = at("still"), own = { view: "run", wipe: 0.5, blend: 0.5 };
let drawn = "", engine = "", colored = true, opened = false;
let sent = { view: "color", wipe: 0.5 };   // to all
let aspect = 1;                            // width of a pixel to its height, as the run says

function look_at(name, chosen = true) {     // what is chosen stands in the address, and so outlives a reload
  own.view = document.body.dataset.own = name;
  history.replaceState(null, "", location.pathname + location.search + (chosen ? "#" + name : ""));
  for (const one of at("views").querySelectorAll("button")) one.ariaPressed = String(one.dataset.value === name);
  at("place").hidden = name !== "blend";
  slider.value = own.blend;
  watch(FEEDS[name] || "pair");
  drawn = "";
  compose();
}

function move(place) {
  own.wipe = Math.min(1, Math.max(0, place));
  line.ariaValueNow = String(Math.round(100 * own.wipe));
  line.ariaValueText = Math.round(100 * own.wipe) + " % of the picture is what the sensor sees";
  drawn = "";
  compose();
}

const halved = () => !(own.view in FEEDS);
// The line of a wipe that is sent to all is taken, too: from then on the viewer's own.
const sent_wipe = () => own.view === "run" && sent.view === "wipe";
const wipes = () => own.view === "wipe" || sent_wipe();
function open_as() {                       // the page of a wipe begins with a line of its own, which can be dragged
  if (opened) return;
  opened = true;
  if (location.hash === "#run") return;    // as sent, which this viewer chose
  if (!sent_wipe() && !(sent.view === "wipe" && own.view === "wipe")) return;
  own.wipe = sent.wipe;                    // after a reload, too, as the address names the view alone
  if (own.view === "run") look_at("wipe"); else compose();
}

const guesses = () => !/^(palette|gray)/.test(engine);                 // false color is never unsure
function offer_views() {
  for (const one of document.querySelectorAll("[data-value=confidence], [data-shared=confidence]")) one.hidden = !guesses();
  if (own.view === "confidence" && !guesses()) look_at("run", false);
}

function take_line(place) {
  move(place);
  if (own.view === "run") { go_on(); look_at("wipe"); }
}

function compose() {                       // draws the chosen view of what is there; true where there was something to
  const from = picture(), [wide, high] = sizes(from), width = wide / 2;
  const composed = halved() && (from.dataset.show === "pair" && wide > 0 || !view.hidden);
  document.body.classList.toggle("composed", composed);
  document.body.classList.toggle("wiping", composed && own.view === "wipe" || sent_wipe());
  view.hidden = !composed;
  if (composed && from.dataset.show === "pair" && wide) {
    const pen = size_to(own.view === "side" ? wide : width, high);
    view.stretch = stretch(from);
    const half = (which, x, cut) => pen.drawImage(from, which * width + cut, 0, width - cut, high, x + cut, 0, width - cut, high);
    pen.globalAlpha = 1;
    if (own.view === "side") pen.drawImage(from, 0, 0);
    else if (own.view === "color") half(1, 0, 0);
    else half(0, 0, 0);
    if (own.view === "wipe" && own.wipe < 1) half(1, 0, Math.round(own.wipe * width));
    if (own.view === "blend") { pen.globalAlpha = own.blend; half(1, 0, 0); }
  }
  const shown = composed ? view : from;
  const shape = composed ? [view.width * stretch(view), view.height] : [wide * stretch(from), high];
  if (composed || from.dataset.show !== "pair") take_shape(shape);
  place(shape);
  fit(shown, composed ? [view.width, view.height] : [wide, high]);
  for (const one of [still, last]) fit(one, [one.width, one.height]);
  tell_real(composed || !halved() ? own.view : "run");
}

function size_to(width, height) {
  if (view.width !== width || view.height !== height) { view.width = width; view.height = height; }
  return view.getContext("2d");
}

// Over WebRTC nothing says that pixels are no squares; HLS has it in its pictures, and images have square ones.
const stretch = (one) => (one === tape || one === live ? 1 : one.stretch || aspect);

function fit(one, [wide, high]) {          // shows its pixels as wide as they are meant to be
  const factor = stretch(one), [width, height] = [stage.clientWidth, stage.clientHeight];
  if (factor === 1 || !wide || !high) { one.style.scale = ""; return; }
  const plain = Math.min(width / wide, height / high), meant = Math.min(width / (wide * factor), height / high);
  one.style.scale = factor * meant / plain + " " + meant / plain;
}

function take_shape([wide, high]) {         // of the picture: where space is scarce the stage has it too, see page.css
  const ratio = wide && high ? (wide / high).toFixed(4) : "";
  if (ratio && document.body.style.getPropertyValue("--ratio") !== ratio) document.body.style.setProperty("--ratio", ratio);
}

function place([wide, high]) {             // where the picture lies within its stage
  if (!wide || !high) return;
  const box = stage.getBoundingClientRect(), scale = Math.min(box.width / wide, box.height / high);
  const width = wide * scale, height = high * scale;
  const now = [(box.width - width) / 2, (box.height - height) / 2, width, height];
  ["--x", "--y", "--w", "--h"].forEach((name, index) => stage.style.setProperty(name, now[index] + "px"));
  stage.style.setProperty("--at", own.wipe);
}

function tell_real(shown) {                // within a glance: what is real, and what is guessed
  const palette = engine.startsWith("palette"), plain = engine.startsWith("gray");
  const made = !engine || !colored ? "" : plain ? "real: as the sensor sees it"
    : palette ? "false color: brightness, in " + engine.replace("palette ", "") : "predicted color";
  const wipe = shown === "wipe", both = wipe || shown === "side";
  const width = parseFloat(stage.style.getPropertyValue("--w")) || 0;
  const brief = plain || !made ? made : palette ? "false color" : width < 360 ? "predicted" : "predicted color";
  const real = { raw: "real: what the sensor sees", side: "real", wipe: "real" }[shown] || "";
  const say = (tag, text, share) => {     // of a wipe, what is hardly to be seen needs no name
    if (tag.textContent !== text) tag.textContent = text;
    tag.style.visibility = !wipe || share > 0.12 ? "" : "hidden";
  };
  say(at("real"), real, own.wipe);
  const sure = width < 300 ? "teal: sure" : "how sure the color is: teal sure, orange guessed";
  say(at("made"), { raw: "", confidence: sure }[shown] ?? (both || sent_wipe() ? brief || "color" : width < 300 ? brief : made),
      1 - own.wipe);
  const [left, right] = [at("real").offsetWidth + 20, at("made").offsetWidth + 20];
  const crowded = real && (wipe ? own.wipe * width < left || (1 - own.wipe) * width < right : left + right > width);
  at("made").classList.toggle("below", Boolean(crowded));         // each in a row of its own
  at("made").classList.toggle("made", !plain && shown !== "confidence");
  line.hidden = !wipe || view.hidden;
}

function each() {                          // not drawn again while nothing has moved
  requestAnimationFrame(each);
  const from = picture(), key = [own.view, from.id, from.dataset.show, from.currentTime, ...sizes(from),
                                 stage.clientWidth, stage.clientHeight].join();
  if (key === drawn && from !== live) return;
  drawn = key;
  compose();
}

function share_at(event) {
  const box = stage.getBoundingClientRect(), value = (name) => parseFloat(stage.style.getPropertyValue(name));
  return [(event.clientX - box.left - value("--x")) / value("--w"), (event.clientY - box.top - value("--y")) / value("--h")];
}

stage.onpointerdown = (event) => {
  if (cover) { if (!event.button) add_corner(in_frame(share_at(event))); return; }
  if (drawing) { begin_mark(event); return; }
  if (!wipes() || event.button) return;
  stage.setPointerCapture(event.pointerId);
  take_line(share_at(event)[0]);
};
function look_under(event) {               // a camera's own time or name lies where a tag is: pointing there shows it
  for (const tag of stage.querySelectorAll(".tag:not(#under)")) {
    const { left, right, top, bottom } = tag.getBoundingClientRect();
    const { clientX: x, clientY: y, type } = event;
    tag.classList.toggle("aside", type !== "pointerleave" && x >= left && x <= right && y >= top && y <= bottom);
  }
}

["pointermove", "pointerdown", "pointerleave"].forEach((kind) => stage.addEventListener(kind, look_under));
stage.onpointermove = (event) => { if (own.view === "wipe" && event.buttons & 1) move(share_at(event)[0]); };

NAMES.forEach((name, index) => {
  const one = button(OWN[name], () => { go_on(); look_at(name); });
  one.dataset.value = name;
  one.title = "key " + (index + 1) + (name === "run" ? ": what recordings and streams show" : "");
  at("views").append(one);
});
slider.oninput = () => { own.blend = Number(slider.value); drawn = ""; };

function enlarge() {
  if (document.fullscreenElement) document.exitFullscreen(); else stage.requestFullscreen();
}
at("large").onclick = enlarge;
document.onkeydown = (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  if (/^(text|number|search|select-one)$/.test(event.target.type || "")) return;
  const name = NAMES[Number(event.key) - 1];
  const step = { ArrowLeft: -0.02, ArrowRight: 0.02, Home: -1, End: 1 }[event.key];
  if (event.key === "f") enlarge();
  else if (name && (name !== "confidence" || guesses())) { go_on(); look_at(name); }
  else if (step && event.target.type !== "range" && wipes()) {
    take_line((sent_wipe() ? sent.wipe : own.wipe) + step);
    event.preventDefault();
  }
  else if (step && event.target.type !== "range" && own.view === "blend") {
    own.blend = Math.min(1, Math.max(0, own.blend + step));
    slider.value = own.blend;
  }
};
move(own.wipe);
const named = location.hash.slice(1);
look_at(NAMES.includes(named) ? named : "run", NAMES.includes(named));
each();
