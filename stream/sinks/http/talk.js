// For who shows it to others: t goes through what there is to see, space holds the picture, r takes ten seconds home.
const RECORDED_S = 10, READY_S = 10, SWEEP_S = 6;
const caption = at("caption"), still = at("still");
const pause = (seconds) => new Promise((done) => setTimeout(done, 1000 * seconds));
const picture = () => (film.hidden ? live : film);
let touring = null, recorder = null;

function copy() {
  const from = picture();
  still.width = from.videoWidth || from.naturalWidth;
  still.height = from.videoHeight || from.naturalHeight;
  still.getContext("2d").drawImage(from, 0, 0, still.width, still.height);
}

function freeze() {
  if (still.hidden) copy();
  still.hidden = !still.hidden;
  document.body.classList.toggle("frozen", !still.hidden);
  at("freeze").textContent = still.hidden ? "freeze" : "go on";
}

function tour_steps() {
  const choices = setup.control.engines.map((choice) => choice.value);
  const plain = (engine) => engine.startsWith("palette:") || engine === "gray";
  const network = plain(state.engine) ? choices.find((engine) => !plain(engine)) : state.engine;
  const palette = choices.find((engine) => engine === "palette:ironbow") || choices.find(plain);
  return [
    [{ view: "raw" }, 5, "What the sensor sees"],
    palette && [{ view: "color", engine: palette }, 5, "False color: every brightness has its own, and nothing is guessed"],
    network && [{ view: "color", engine: network }, 6, "Predicted color: sky, leaves and roads are likely, a car's paint cannot be known"],
    network && [{ view: "confidence" }, 5, "Where it is sure, and where it is not"],
    [{ view: "wipe", wipe: 0 }, 0, "Real on the one side, predicted on the other"],
  ].filter(Boolean);
}

async function settled(wanted, mine) {
  for (let waited = 0; wanted && state.engine !== wanted && waited < READY_S && touring === mine; waited += 0.25)
    await pause(0.25);
}

async function tour() {
  if (touring || !setup.control) { touring = null; return; }           // the same key ends it
  const mine = touring = {}, before = { view: state.view, wipe: state.wipe, engine: state.engine };
  at("tour").ariaPressed = "true";
  for (const [wanted, seconds, text] of tour_steps()) {
    if (touring !== mine) break;
    await send(wanted);
    await settled(wanted.engine, mine);
    caption.textContent = text;
    for (let shown = 0; shown < seconds && touring === mine; shown += 0.25) await pause(0.25);
  }
  for (let place = 0; place <= 1 && touring === mine; place += 0.1 / SWEEP_S) {
    await send({ wipe: Math.min(1, place) });
    await pause(0.1);
  }
  caption.textContent = "";
  await send(before);
  touring = null;
  at("tour").ariaPressed = "false";
}

function record() {
  if (recorder || !window.MediaRecorder) return;
  const kind = ["video/mp4;codecs=avc1", "video/webm"].find((one) => MediaRecorder.isTypeSupported(one));
  const canvas = film.hidden;                            // an image has no stream of its own: it is copied
  if (canvas) copy();
  const copying = canvas && setInterval(copy, 40), parts = [];
  recorder = new MediaRecorder(canvas ? still.captureStream() : film.srcObject, { mimeType: kind });
  recorder.ondataavailable = (event) => parts.push(event.data);
  recorder.onstop = () => {
    clearInterval(copying);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob(parts, { type: kind }));
    link.download = document.title + "-" + new Date().toISOString().slice(0, 19).replaceAll(":", "-")
      + (kind.includes("mp4") ? ".mp4" : ".webm");
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    recorder = null;
    at("record").textContent = "record";
  };
  recorder.start();
  let left = RECORDED_S;
  const count = () => {
    at("record").textContent = "recording " + left;
    if (left-- > 0) setTimeout(count, 1000); else recorder.stop();
  };
  count();
}

for (const [name, press] of Object.entries({ freeze, record, tour }))
  at(name).onclick = (event) => { event.preventDefault(); press(); };
if (!setup.control) at("tour").remove();
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || /^(BUTTON|INPUT|A)$/.test(event.target.tagName)) return;
  const press = { t: tour, r: record, " ": freeze }[event.key];
  if (press) { event.preventDefault(); press(); }
});
