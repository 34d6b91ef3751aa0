// How the picture comes: WebRTC; HLS where that fails; motion JPEG until one of them has brought a picture.
const AGAIN_MS = 10000, GATHERED_MS = 1000;
const film = at("film"), tape = at("tape"), last = at("last");
const only = new URLSearchParams(location.search).get("via");   // webrtc, hls or jpeg: to try one of them
let live = at("live"), feed = "run", peer = null, viewer = null, counted = null, reel = null, coming = null;

const may = (way) => setup.ways.includes(way) && (!only || only === way);
const picture = () => [film, tape, live].find((one) => !one.hidden);
const sizes = (one) => [one.videoWidth || one.naturalWidth || 0, one.videoHeight || one.naturalHeight || 0];

function keep(one) {                       // its last picture stands until another one comes, or for good
  const from = one.dataset.show === "pair" ? view : one;         // two pictures beside each other: what was made of them
  const [width, height] = from === view ? [view.width, view.height] : sizes(one);
  if (one.hidden || !width) return;
  last.width = width;
  last.height = height;
  last.stretch = stretch(from);
  last.getContext("2d").drawImage(from, 0, 0);
  fit(last, [width, height]);
  last.hidden = false;
}

function unroll() {                        // motion JPEG in an image of its own, shown when its first picture is there
  const mine = coming = new Image(), wanted = feed;
  mine.id = "live";
  mine.alt = live.alt;
  mine.draggable = false;
  mine.dataset.show = wanted;
  mine.onerror = () => { if (coming === mine || live === mine) setTimeout(() => { if (coming === mine || live === mine) unroll(); }, 1000); };
  mine.src = "live.mjpg?show=" + wanted + "&" + Date.now();
  const arrived = () => {
    if (coming !== mine) { mine.removeAttribute("src"); return; }
    if (!mine.naturalWidth) { setTimeout(arrived, 40); return; }
    coming = null;
    mine.hidden = live.hidden;
    live.removeAttribute("src");           // or the server goes on sending to it
    live.replaceWith(mine);
    live = mine;
    last.hidden = true;
  };
  arrived();
}

function shown(one) {                      // a video has brought its first picture: nothing else is needed
  for (const other of [film, tape]) other.hidden = other !== one;
  live.hidden = last.hidden = true;
  live.removeAttribute("src");
  if (coming) { coming.removeAttribute("src"); coming = null; }
  if (one === film) rewind();
}

function fall_back() {
  if (!film.hidden || !tape.hidden) return;
  if (live.hidden) { live.hidden = false; unroll(); }
}

async function meet() {
  if (peer) return;
  if (!may("webrtc") || !window.RTCPeerConnection) { play(); return; }
  const mine = peer = new RTCPeerConnection(), wanted = feed;
  try {
    mine.addTransceiver("video", { direction: "recvonly" });
    mine.ontrack = (event) => {
      if ("jitterBufferTarget" in event.receiver) event.receiver.jitterBufferTarget = 0;
      film.srcObject = new MediaStream([event.track]);
      film.play().catch(() => {});
      const met = () => {
        if (peer !== mine || !film.hidden) return;
        film.dataset.show = wanted;
        shown(film);
      };
      film.requestVideoFrameCallback ? film.requestVideoFrameCallback(met) : film.onplaying = met;
    };
    mine.onconnectionstatechange = () => {
      if (["failed", "closed", "disconnected"].includes(mine.connectionState)) part(mine, AGAIN_MS / 10);
    };
    await mine.setLocalDescription(await mine.createOffer());
    if (mine.iceGatheringState !== "complete")
      await new Promise((go) => { mine.onicegatheringstatechange = go; setTimeout(go, GATHERED_MS); });
    const answer = await answered("whep?show=" + wanted, { method: "POST", body: mine.localDescription.sdp,
                                                           headers: { "Content-Type": "application/sdp" } });
    if (!answer.ok) {                                            // 406 and 501 will not be otherwise later on
      part(mine, answer.status === 406 || answer.status === 501 ? 0 : AGAIN_MS);
      play();
      return;
    }
    if (peer !== mine) { fetch(answer.headers.get("Location"), { method: "DELETE" }).catch(() => {}); return; }
    viewer = answer.headers.get("Location");
    await mine.setRemoteDescription({ type: "answer", sdp: await answer.text() });
    setTimeout(() => { if (peer === mine && film.hidden) { part(mine, AGAIN_MS); play(); } }, AGAIN_MS);
  } catch (error) {
    part(mine, AGAIN_MS);
    if (!gone) play();
  }
}

function part(mine, again) {
  if (peer !== mine) return;
  keep(film);
  peer = counted = film.srcObject = null;
  leave();
  mine.close();
  film.hidden = true;
  fall_back();
  if (again) setTimeout(meet, again);
}

function leave() {
  if (viewer) fetch(viewer, { method: "DELETE", keepalive: true }).catch(() => {});
  viewer = null;
}

function loaded() {                        // hls.js is fetched where it is needed, and only there
  if (window.Hls) return Promise.resolve();
  return new Promise((done, failed) => {
    const script = document.createElement("script");
    script.nonce = nonce;
    script.src = "hls.js";
    script.onload = done;
    script.onerror = failed;
    document.head.append(script);
  });
}

async function play() {
  if (!may("hls") || reel || !film.hidden) return;
  const mine = reel = {}, wanted = feed, list = "hls/" + wanted + "/live.m3u8";
  try {
    if (window.MediaSource) {
      await loaded();
      if (reel !== mine) return;
      mine.hls = new Hls({ enableWorker: false, liveSyncDurationCount: 2, backBufferLength: 10,
                           manifestLoadPolicy: { default: { maxTimeToFirstByteMs: 15000, maxLoadTimeMs: 20000,
                             timeoutRetry: null, errorRetry: null } } });
      mine.hls.on(Hls.Events.ERROR, (_, problem) => { if (problem.fatal) stopped(mine); });
      mine.hls.loadSource(list);
      mine.hls.attachMedia(tape);
    } else if (tape.canPlayType("application/vnd.apple.mpegurl")) {
      tape.src = list;
      tape.onerror = () => stopped(mine);
    } else { reel = null; return; }
    tape.onplaying = () => { if (reel === mine && film.hidden) { tape.dataset.show = wanted; shown(tape); } };
    tape.play().catch(() => {});
  } catch (error) { stopped(mine); }
}

function stopped(mine) {
  if (reel !== mine) return;
  keep(tape);
  rewind();
  fall_back();
  setTimeout(() => { if (!peer || film.hidden) play(); }, AGAIN_MS / 2);
}

function rewind() {
  if (reel && reel.hls) reel.hls.destroy();
  reel = null;
  tape.onplaying = tape.onerror = null;
  tape.removeAttribute("src");
  tape.hidden = true;
}

function watch(wanted) {                   // another feed: what is there stays until the other one has come
  if (wanted === feed) return;
  feed = wanted;
  at("save").href = "snapshot.jpg?show=" + wanted;
  rewind();
  if (peer) part(peer, 0);
  live.hidden = false;
  unroll();
  meet();
}

async function way() {
  if (gone) return "";
  if (!tape.hidden) {
    const late = reel && reel.hls ? reel.hls.latency : tape.seekable.length
      ? tape.seekable.end(tape.seekable.length - 1) - tape.currentTime : 0;
    return "HLS, " + (late > 0 ? late.toFixed(0) + " s behind" : "some seconds behind");
  }
  if (film.hidden || !peer) {
    return "motion JPEG" + (trip_ms ? " +" + Math.max(1, Math.round(trip_ms / 2)) + " ms" : "");
  }
  let waited = 0, taken = 0, trip = 0;
  for (const one of (await peer.getStats()).values()) {
    if (one.type === "inbound-rtp" && one.kind === "video") {
      waited = one.jitterBufferDelay + one.totalDecodeTime;
      taken = one.jitterBufferEmittedCount;
    }
    if (one.type === "candidate-pair" && one.nominated) trip = one.currentRoundTripTime || 0;
  }
  const last = counted || { waited: 0, taken: 0 };
  counted = { waited, taken };
  const delay = taken > last.taken ? (waited - last.waited) / (taken - last.taken) + trip / 2 : null;
  return "WebRTC" + (delay === null ? "" : " +" + Math.max(1, Math.round(1000 * delay)) + " ms");
}
let trip_ms = 0;                           // of the last request for figures
addEventListener("pagehide", leave);
live.dataset.show = feed;
unroll();
meet();
