// How the picture is made, for all: tone and its range, readings on it, what is shown of a network's color.
const READINGS = { rate: "rate", latency: "delay", engine: "engine", time: "clock", spot: "temperature", camera: "camera",
                   scale: "color scale" };
const UNITS = { celsius: "\u00b0C", counts: "counts", luma: "levels" };
const low = at("low"), high = at("high"), limit = at("limit-of-color"), smooth = at("smoothing");
let told_methods = "", adjusted = null;

const press_of = (place, key, value, text) => {
  const one = button(text, () => send({ [key]: value() }));
  one.ariaPressed = "false";
  place.append(one);
  return one;
};
const busy = (...inputs) => inputs.includes(document.activeElement);
const value_of = (number, unit) => number.toFixed(unit === "celsius" ? 1 : 0);

function adjust(now) {                     // shows what is so now, but for what the operator is just changing
  adjusted = now;
  if (!setup.control || !now.tone) return;
  const { tone, color } = now, methods = tone.methods.join();
  if (methods !== told_methods) {
    told_methods = methods;
    for (const old of at("tone").querySelectorAll("button")) old.remove();
    for (const name of tone.methods) press_of(at("tone"), "tone", () => name, name).dataset.tone = name;
    press_of(at("tone"), "lock", () => !adjusted.tone.lock, "hold").id = "hold";
    at("hold").title = "the curve stays as it is now, whatever the scene does";
  }
  for (const one of at("tone").querySelectorAll("[data-tone]"))
    one.ariaPressed = String(!tone.span && one.dataset.tone === tone.method);
  at("hold").ariaPressed = String(tone.lock);
  at("hold").hidden = Boolean(tone.span);
  at("unit").textContent = UNITS[tone.unit];
  at("follow").hidden = !tone.span;
  const shown = tone.span || tone.now;
  if (shown && !busy(low, high) && !at("range").dataset.typed)
    [low.value, high.value] = shown.map((one) => value_of(one, tone.unit));
  at("range").classList.toggle("fixed", Boolean(tone.span));
  for (const one of at("readings").querySelectorAll("button"))
    one.ariaPressed = String(now.readings.includes(one.dataset.reading));
  const network = !/^(palette|gray)/.test(now.engine || "");
  at("network").hidden = !network;
  for (const one of at("mode").querySelectorAll("button")) one.ariaPressed = String(one.dataset.mode === color.mode);
  if (!busy(limit)) limit.value = color.chroma_limit === null ? limit.max : color.chroma_limit;
  if (!busy(smooth)) smooth.value = color.smoothing_s;
  say_sliders();
}

function say_sliders() {
  at("limited").textContent = limit.value === limit.max ? "none" : limit.value;
  at("smoothed").textContent = Number(smooth.value) ? Number(smooth.value).toFixed(2) + " s" : "off";
}

function bar(scale) {                       // which color is how warm; about, where the tone follows the scene
  at("bar").hidden = !scale;
  if (!scale) return;
  at("bar").querySelector("i").style.background = "linear-gradient(90deg, " + scale.colors.join(", ") + ")";
  const [from, to] = scale.ends.length ? scale.ends.map((one) => value_of(one, scale.unit)) : ["dark", "bright"];
  const unit = scale.ends.length ? " " + UNITS[scale.unit] : "", about = scale.ends.length && !scale.fixed ? "\u2248 " : "";
  [at("bar").firstElementChild.textContent, at("bar").lastElementChild.textContent] = [about + from, to + unit];
}

for (const name of Object.keys(READINGS))
  press_of(at("readings"), "readings", () => adjusted.readings.includes(name)
    ? adjusted.readings.filter((one) => one !== name) : [...adjusted.readings, name], READINGS[name]).dataset.reading = name;
for (const [mode, text] of [["full", "all of it"], ["chroma", "hue only"]]) {
  const one = press_of(at("mode"), "mode", () => mode, text);
  one.dataset.mode = mode;
  one.title = mode === "full" ? "its brightness too" : "brightness is the sensor's own, to the last bit";
}
for (const one of [low, high]) one.oninput = () => { at("range").dataset.typed = "yes"; };
at("range").onsubmit = (event) => {
  event.preventDefault();
  delete at("range").dataset.typed;
  send({ span: [Number(low.value), Number(high.value)] });
};
at("follow").onclick = () => { delete at("range").dataset.typed; send({ span: null }); };
limit.oninput = smooth.oninput = say_sliders;
limit.onchange = () => send({ chroma_limit: limit.value === limit.max ? null : Number(limit.value) });
smooth.onchange = () => send({ smoothing_s: Number(smooth.value) });
if (setup.control) adjust(setup.control.state);
