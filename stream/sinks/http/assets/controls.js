// What an operator changes for all: engine, reference, and the picture that recordings and streams show.
const at = (id) => document.getElementById(id);
const strength = at("strength").querySelector("input");
let gone = 0, state = null, sending = false, next = null, ready = false;
let wishes = 0;                            // figures that were asked for before the last one are no longer true

const REQUEST_MS = 4000;
const answered = (address, more) =>        // a server that hangs must not leave yesterday's figures standing
  fetch(address, { cache: "no-store", signal: AbortSignal.timeout(REQUEST_MS), ...more });

function button(text, press, swatch) {
  const made = document.createElement("button");
  made.type = "button";
  if (swatch && swatch.length) {
    const bar = document.createElement("i");
    bar.style.background = "linear-gradient(90deg, " + swatch.join(", ") + ")";
    made.append(bar);
  }
  made.append(text);
  made.onclick = press;
  return made;
}

function show(now) {
  state = now;
  if (now.engine && now.engine === now.band && setup.control && !setup.control.engines.some((one) => one.value === now.engine))
    location.reload();                     // the page came before the camera, whose band was not known
  for (const one of at("shared").querySelectorAll("button"))
    one.ariaPressed = String(one.dataset.shared === now.view);
  for (const one of document.querySelectorAll("#engines button, #others button")) {
    one.ariaPressed = String(one.dataset.value === now.engine);
    one.classList.toggle("coming", one.dataset.value === now.changing);
  }
  const other = at("others").querySelector("[aria-pressed=true]");   // the panel may be closed
  at("more").classList.toggle("chosen", Boolean(other));
  at("more").firstElementChild.textContent =
    "more engines" + (other ? ": " + other.parentElement.dataset.group + " " + other.textContent : "");
  offer(now.reference);
  if (ready) { tell_masks(now.privacy); adjust(now); }
  at("said").textContent = now.error || "";
}

function offer(reference) {                // the pictures to choose from, drawn anew where they are others
  const place = at("references");
  place.hidden = !reference;
  at("strength").hidden = !reference || reference.strength === null;
  if (!reference) return;
  const keys = reference.candidates.map((one) => one.key).join(" "), drawn = place.dataset.keys;
  place.onpointerenter = (event) => { place.aimed = event.pointerType === "mouse"; };
  place.onpointerleave = () => { place.aimed = false; };
  if (drawn !== keys && !(drawn && place.aimed)) {  // nothing moves away under a mouse
    const focused = place.contains(document.activeElement) ? document.activeElement.dataset.value : null;
    place.dataset.keys = keys;
    for (const one of place.querySelectorAll("button")) one.remove();
    for (const value of ["auto", "none"]) {
      const one = button(value, () => send({ reference: value }));
      one.dataset.value = value;
      place.append(one);
    }
    for (const candidate of reference.candidates) {
      const one = button("", () => send({ reference: candidate.key }));
      const picture = document.createElement("img");
      picture.src = "references/" + encodeURIComponent(candidate.key) + ".jpg";
      picture.alt = candidate.name;
      one.className = "picture";
      one.dataset.value = candidate.key;
      one.append(picture);
      place.append(one);
    }
    [...place.querySelectorAll("button")].find((one) => one.dataset.value === focused)?.focus();
  }
  const scores = Object.fromEntries(reference.candidates.map((one) => [one.key, one]));
  for (const one of place.querySelectorAll("button")) {
    const value = one.dataset.value, candidate = scores[value];
    one.classList.toggle("current", value === reference.current);
    one.ariaPressed = String(value === "auto" ? reference.auto : value === "none"
      ? !reference.auto && !reference.current : !reference.auto && value === reference.current);
    if (candidate) one.title = candidate.name + (value === reference.current ? ", in use" : "")
      + (candidate.score === null ? "" : ", alike " + candidate.score.toFixed(2));
  }
  if (document.activeElement !== strength && !next && reference.strength !== null)
    strength.value = reference.strength;
}

async function send(wanted) {
  next = { ...next, ...wanted };
  wishes += 1;
  if (sending) return;                     // the newest wish goes out when the one before has been heard
  sending = true;
  while (next) {
    const body = JSON.stringify(next);
    next = null;
    try {
      const answer = await answered("control", { method: "POST", body,
                                                 headers: { "Content-Type": "application/json" } });
      const now = await answer.json();
      wishes += 1;
      if (answer.ok) show(now); else at("said").textContent = now.error;
    } catch (error) {
      at("said").textContent = "not changed: the server does not answer";
    }
  }
  sending = false;
}

const MAIN = { nir: "near infrared", thermal: "thermal", palette: "palette" };
const SIZES = { auto: "as good as this machine has time for", fast: "the small network: less work",
                best: "the large network: truer color" };

if (setup.control) {
  for (const view of setup.views) {
    const one = button(view, () => { go_on(); send({ view }); });
    one.dataset.shared = view;
    at("shared").append(one);
  }
  let group = null;
  for (const choice of setup.control.engines) {
    if (!group || group.dataset.group !== choice.group) {
      group = document.createElement("fieldset");
      group.dataset.group = choice.group;
      group.innerHTML = "<legend></legend>";
      group.firstChild.textContent = MAIN[choice.group] || choice.group;
      at(choice.group in MAIN ? "engines" : "others").append(group);
    }
    const one = button(choice.label, () => { go_on(); send({ engine: choice.value }); }, choice.swatch);
    one.dataset.value = choice.value;
    one.title = SIZES[choice.label] || "";
    group.append(one);
  }
  at("more").hidden = !at("others").childElementCount;
  strength.oninput = () => send({ strength: Number(strength.value) });
  at("forall").hidden = false;
  show(setup.control.state);
}
at("all").hidden = !setup.named;
