// What goes on, once a second: the camera's state, rate and delay in words.
let ending = false;                        // a recording: its run comes to its end, and the server with it
const WORDS = { waiting: "waiting", live: "live", lost: "signal lost", slate: "no signal", failed: "failed", ended: "ended" };

function time(seconds) {
  if (seconds < 90) return Math.max(0, Math.round(seconds)) + " s";
  if (seconds < 5400) return Math.round(seconds / 60) + " min";
  return seconds < 129600 ? Math.round(seconds / 3600) + " h" : Math.round(seconds / 86400) + " days";
}

// From a frame's arrival to its picture; a page that changes nothing has no "live".
const delay_ms = (figures) => figures.live ? figures.live.latency_ms : figures.latency_ms;

function tell(figures) {
  const now = figures.state || "live", live_now = now === "live";
  const seconds = figures.since ? (Date.now() - Date.parse(figures.since)) / 1000 : 0;
  const clock = figures.since ? new Date(figures.since).toLocaleTimeString() : "";
  at("state").textContent = WORDS[now] || now;
  at("fps").textContent = live_now ? figures.fps.toFixed(1) + " fps" : "";
  const delay = delay_ms(figures);
  at("latency").textContent = delay ? delay.toFixed(0) + " ms" : "";
  at("size").textContent = figures.width ? figures.width + " \u00d7 " + figures.height : "";
  if (live_now) at("why").textContent = !figures.reason ? ""
    : (figures.reason.startsWith("color ") ? "" : "no color: ") + figures.reason;   // "color is being prepared"
  else at("why").textContent = WORDS[now] + " since " + clock + " (" + time(seconds) + ")"
    + (figures.reason ? ": " + figures.reason : "")
    + (now === "lost" ? (/[.?!]$/.test(figures.reason || "") ? "" : ".") + " The last picture stands." : "");
  engine = figures.engine || "";
  ending = Boolean(figures.ends);
  offer_views();
  bar(figures.scale);
  if (figures.sent) { sent = figures.sent; open_as(); }
  aspect = figures.pixel_aspect || 1;
  colored = live_now && !figures.reason;
  document.body.classList.toggle("lost", now === "lost" || now === "failed" || now === "ended");
  document.body.classList.toggle("slate", now === "slate");
  document.body.classList.toggle("plain", live_now);
  document.body.classList.toggle("gray", engine.startsWith("gray"));
  document.body.classList.toggle("waiting", now === "waiting");
}

async function look() {
  let reached = false;
  try {
    const begun = performance.now(), known = wishes, answer = await answered("stats.json");
    reached = true;
    if (answer.status === 401) { location.reload(); return; }
    if (!answer.ok) throw new Error();
    const figures = await answer.json();
    trip_ms = performance.now() - begun;
    if (gone) { gone = 0; if (!live.hidden) unroll(); if (!peer) meet(); }
    const still_so = wishes === known;
    if (figures.live && !sending && still_so) show(figures.live);
    tell(figures);
    if (still_so) tell_warmth(figures.thermometer);
    chart(figures);
    at("way").textContent = figures.state === "waiting" ? "" : await way();
    drawn = "";
  } catch (error) {
    gone = gone || Date.now();
    const over = ending && !reached && error.name !== "TimeoutError";   // who hangs or answers otherwise has not ended
    at("state").textContent = over ? "ended" : "no server";
    at("why").textContent = over ? "The run of this recording has ended, or cannot be reached. The last picture stands, and a new run at this address is shown."
      : "The server does not answer since " + new Date(gone).toLocaleTimeString()
        + " (" + time((Date.now() - gone) / 1000) + "). This page tries again.";
    document.body.classList.toggle("over", over);
    at("fps").textContent = at("way").textContent = at("latency").textContent = at("size").textContent = "";
    document.body.classList.remove("lost", "slate", "plain", "waiting");
  }
  if (!gone) document.body.classList.remove("over");
  document.body.classList.toggle("gone", gone > 0 && !document.body.matches(".over"));
  setTimeout(look, state && state.changing ? 250 : 1000);
}
look();
