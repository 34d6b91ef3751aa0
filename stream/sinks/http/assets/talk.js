// For who shows it to others: t goes through what there is to see, space holds the picture, r takes home the last ten seconds and the next.
const READY_S = 10, SWEEP_S = 6;
const caption = at("caption");
const pause = (seconds) => new Promise((done) => setTimeout(done, 1000 * seconds));
const seen = () => (view.hidden ? picture() : view);
let touring = null, recorder = null, recorded_s = 10;

function copy(to) {
  const from = seen(), [wide, high] = from === view ? [view.width, view.height] : sizes(from);
  const aspect = stretch(from);            // no pixel is given up, as in the server's own images
  [to.width, to.height] = [Math.round(wide * Math.max(1, aspect)), Math.round(high / Math.min(1, aspect))];
  to.stretch = 1;
  to.getContext("2d").drawImage(from, 0, 0, to.width, to.height);
}

function freeze() {
  if (still.hidden) copy(still);
  still.hidden = !still.hidden;
  drawn = "";
  document.body.classList.toggle("frozen", !still.hidden);
  at("freeze").textContent = still.hidden ? "freeze" : "go on";
  const what = at("made").textContent || at("real").textContent;       // which lie under it
  at("held").textContent = still.hidden ? "" : "held since " + new Date().toLocaleTimeString() + (what && ": " + what);
}

function go_on() { if (!still.hidden) freeze(); }                       // who wishes to see something else

function tour_steps() {                    // view, engine (where it may be chosen), seconds, what is said
  const choices = setup.control ? setup.control.engines.map((choice) => choice.value) : [];
  const plain = (name) => name.startsWith("palette") || name.startsWith("gray");
  const now = state ? state.engine : engine;
  const likely = state && state.band || "";                            // a thermal camera's is not near infrared's
  const network = !plain(now) ? now : choices.find((name) => !plain(name) && name.startsWith(likely));
  const palette = plain(now) && !choices.length ? now : choices.find((name) => name === "palette:ironbow") || choices.find(plain);
  return [
    ["raw", null, 5, "What the sensor sees"],
    palette && ["color", palette, 5, "False color: every brightness has its own, and nothing is guessed"],
    network && ["color", network, 6, "Predicted color: sky, leaves and roads are likely, a car's paint cannot be known"],
    network && ["confidence", null, 5, "Where it is sure, and where it is not"],
    ["wipe", null, 0, "Real on the one side, " + (network ? "predicted" : "colored") + " on the other"],
  ].filter(Boolean);
}

async function settled(wanted, mine) {
  for (let waited = 0; wanted && state.engine !== wanted && waited < READY_S && touring === mine; waited += 0.25)
    await pause(0.25);
}

async function stays(seconds, mine) {        // a step of the tour; it waits while a picture is held
  for (let left = seconds; (left > 0 || !still.hidden) && touring === mine; left -= 0.25) await pause(0.25);
}

async function tour() {
  if (touring) { touring = null; return; }                             // the same key ends it, as Escape does
  go_on();
  const mine = touring = {}, before = { ...own }, chosen = location.hash, colored_by = state && state.engine;
  at("tour").ariaPressed = "true";
  for (const [name, engine_of, seconds, text] of tour_steps()) {
    if (touring !== mine) break;
    if (engine_of && setup.control) { await send({ engine: engine_of }); await settled(engine_of, mine); await stays(0, mine); }
    if (name === "wipe") move(0);
    look_at(name);
    caption.textContent = text;
    await stays(seconds, mine);
  }
  for (let share = 0; share <= 1 && touring === mine; share += 0.1 / SWEEP_S) {
    move(share);
    await pause(0.1);
    await stays(0, mine);
  }
  caption.textContent = "";
  move(before.wipe);
  look_at(before.view, chosen !== "");
  if (setup.control && state.engine !== colored_by) await send({ engine: colored_by });
  touring = null;
  at("tour").ariaPressed = "false";
}

async function record() {                  // what was just seen, and what comes: the server has kept the last seconds
  if (recorder) return;
  recorder = "server";
  let left = recorded_s;
  const count = setInterval(() => { left = Math.max(0, left - 1); at("record").textContent = "recording " + left; }, 1000);
  at("record").textContent = "recording " + left;
  let answer = null;
  try {
    if (setup.ways.includes("hls"))
      answer = await fetch("clip.mp4?show=" + feed + "&before=10&after=" + recorded_s, { cache: "no-store" });
    if (answer && answer.ok) {
      take_home(await answer.blob(), ".mp4");
      const before = Number(answer.headers.get("Clip-Before"));
      remark("saved: " + (before ? before.toFixed(0) + " s before the press and " : "") + recorded_s + " s after it"
        + (feed === "pair" ? ", the sensor's picture beside its color" : ""));
    }
  } catch (error) { answer = { ok: false, json: () => ({ error: "the server does not answer" }) }; }
  clearInterval(count);
  recorder = null;
  at("record").textContent = "record";
  if (!answer || answer.status === 501) record_here();
  else if (!answer.ok) remark("not recorded: " + (await answer.json()).error);
}

function remark(text) {
  if (touring) return;
  caption.textContent = text;
  setTimeout(() => { if (caption.textContent === text) caption.textContent = ""; }, 5000);
}

function take_home(blob, ending) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = document.title + "-" + new Date().toISOString().slice(0, 19).replaceAll(":", "-") + ending;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

function record_here() {                   // where the server encodes no H.264: by the browser, from now on
  if (recorder || !window.MediaRecorder) return;
  const kind = ["video/mp4;codecs=avc1", "video/webm"].find((one) => MediaRecorder.isTypeSupported(one));
  // An image has no stream of its own, and no recorder keeps that pixels are no squares: both are copied.
  const from = seen(), parts = [];
  const canvas = from === live || stretch(from) !== 1 ? document.createElement("canvas") : null;
  if (canvas) copy(canvas);
  const copying = canvas && setInterval(copy, 40, canvas);
  const stream = canvas ? canvas.captureStream() : from === film ? film.srcObject : from.captureStream();
  recorder = new MediaRecorder(stream, { mimeType: kind });
  recorder.ondataavailable = (event) => parts.push(event.data);
  recorder.onstop = () => {
    clearInterval(copying);
    take_home(new Blob(parts, { type: kind }), kind.includes("mp4") ? ".mp4" : ".webm");
    recorder = null;
    at("record").textContent = "record";
  };
  recorder.start();
  let left = recorded_s;
  const count = () => {
    at("record").textContent = "recording " + left;
    if (left-- > 0) setTimeout(count, 1000); else recorder.stop();
  };
  count();
}

at("code").hidden = /^(localhost|127\.|\[::1\]|.*\.localhost$)/.test(location.hostname);  // for this machine alone
at("code").onclick = () => {
  at("address").querySelector("img").src = "address.svg";
  at("address").querySelector("p").textContent = location.origin + location.pathname;
  at("address").showModal();
};
for (const [name, press] of Object.entries({ freeze, record, tour }))
  at(name).onclick = press;
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || /^(BUTTON|INPUT|A|SELECT|SUMMARY)$/.test(event.target.tagName)) return;
  const press = { t: tour, r: record, " ": freeze, Escape: touring && tour }[event.key];
  if (press) { event.preventDefault(); press(); }
});
