// The page over the REST service: what is asked, what is shown, where it is. No library, no build step.
const $ = (id) => document.getElementById(id);
const SURE = 0.5; // confidence below which a hit is shown as doubtful
const HUES = 8;

const state = { image: null, box: null, hits: [], at: -1, seen: null, asked: null, key: sessionStorage.getItem("key") };

// --- Talking to the service ---

class Refused extends Error {}

async function call(path, body, signal) {
  for (let attempt = 0; ; attempt++) {
    const headers = state.key ? { authorization: `Bearer ${state.key}` } : {};
    const options = { headers, signal };
    if (body !== undefined) {
      options.method = "POST";
      const form = body instanceof FormData;
      options.body = form ? body : JSON.stringify(body);
      if (!form) headers["content-type"] = "application/json";
    }
    const answer = await fetch(path, options);
    if (answer.ok) return answer;
    if (answer.status === 401) {
      await unlock();
      continue;
    }
    if (answer.status === 429 && attempt < 4) {
      await new Promise((wake) => setTimeout(wake, 1000 * Number(answer.headers.get("retry-after") || 1)));
      continue;
    }
    const told = await answer.json().catch(() => null);
    throw new Refused(told?.error?.message ?? `The service answered ${answer.status}.`);
  }
}

let unlocking = null; // one question, however many requests wait for its answer
function unlock() {
  unlocking ??= new Promise((done) => {
    $("locked").showModal();
    $("unlock").onsubmit = () => {
      state.key = $("key").value.trim();
      sessionStorage.setItem("key", state.key);
      unlocking = null;
      done();
    };
    $("locked").oncancel = (event) => event.preventDefault();
  });
  return unlocking;
}

// An <img> cannot send a key, so with one its bytes are fetched.
async function show(image, path) {
  const before = image.dataset.path;
  image.dataset.path = path;
  if (before === path) return;
  if (!state.key) {
    image.src = path;
    return;
  }
  const blob = await (await call(path)).blob();
  if (image.dataset.path !== path) return;
  image.onload = () => URL.revokeObjectURL(image.src);
  image.src = URL.createObjectURL(blob);
}

// --- Asking ---

function quoted(text) {
  return `'${text.replaceAll("'", "''")}'`;
}

function filter() {
  const parts = [];
  if ($("path").value) parts.push(`path like ${quoted(`%${$("path").value}%`)}`);
  if ($("caption").value) parts.push(`caption like ${quoted(`%${$("caption").value}%`)}`);
  if ($("width").value) parts.push(`width >= ${Number($("width").value)}`);
  if ($("where").value.trim()) parts.push(`(${$("where").value.trim()})`);
  return parts.join(" and ");
}

const OPTIONS = { exclude: "", path: "", caption: "", width: "", where: "", mode: "fused", k: "20" };

function question() {
  const form = new FormData();
  form.set("text", $("text").value.trim());
  form.set("exclude", $("exclude").value.trim());
  form.set("where", filter());
  form.set("mode", $("mode").value);
  form.set("k", $("k").value);
  if (state.image) form.set("image", state.image);
  if (state.image && state.box) form.set("box", state.box.map((side) => side.toFixed(4)).join(","));
  return form;
}

let running = null;
async function run(work, saying) {
  running?.abort();
  const mine = (running = new AbortController());
  say("Searching…");
  $("grid").classList.add("waiting");
  try {
    const answer = await (await call(...work, mine.signal)).json();
    document.body.classList.remove("fresh");
    list(answer.hits);
    say(summary(answer, saying));
  } catch (error) {
    if (error.name === "AbortError") return;
    say(error instanceof Refused ? error.message : "The service cannot be reached.", true);
  } finally {
    if (running === mine) $("grid").classList.remove("waiting");
  }
}

function search() {
  if (!$("text").value.trim() && !state.image) {
    say("Write what to look for, or add a picture.", true);
    $("text").focus();
    return;
  }
  remember();
  run(["search", question()], "");
}

function similar(hit) {
  $("viewer").close();
  scrollTo({ top: 0 });
  run(["similar", { id: hit.id, k: Number($("k").value) }], ` like ${nameOf(hit)}`);
}

function summary({ hits, seconds }, saying) {
  const sure = hits.filter((hit) => hit.confidence >= SURE).length;
  const took = `${Math.max(1, Math.round(1000 * seconds))} ms`;
  if (!hits.length) return `No picture passes the filter. ${took}.`;
  return `${hits.length} ${hits.length === 1 ? "picture" : "pictures"}${saying}, ${sure} with confidence. ${took}.`;
}

function say(text, wrong = false) {
  $("status").textContent = text;
  $("status").classList.toggle("wrong", wrong);
}

// The address holds the question, so that it can be kept, sent and gone back to. Pictures do not fit.
function remember() {
  const kept = new URLSearchParams();
  if ($("text").value.trim()) kept.set("text", $("text").value.trim());
  for (const [name, usual] of Object.entries(OPTIONS)) if ($(name).value !== usual) kept.set(name, $(name).value);
  const address = kept.size ? `#${kept}` : location.pathname;
  if (address !== location.hash) history.pushState(null, "", address);
}

function recall() {
  const kept = new URLSearchParams(location.hash.slice(1));
  $("text").value = kept.get("text") ?? "";
  for (const [name, usual] of Object.entries(OPTIONS)) $(name).value = kept.get(name) ?? usual;
  countOptions();
  if (filter()) {
    showOptions(true);
    say("This address brings a filter. Look at it, then press Search.");
  } else if (kept.get("text")) search();
}

function showOptions(shown) {
  $("options").hidden = !shown;
  $("more").setAttribute("aria-expanded", String(shown));
}

function countOptions() {
  const count = Object.entries(OPTIONS).filter(([name, usual]) => $(name).value !== usual).length;
  $("active").hidden = !count;
  $("active").textContent = count;
}

// --- The picture to search by ---

function pick(image) {
  if (!image?.type.startsWith("image/")) {
    say("That is no picture.", true);
    return;
  }
  state.image = image;
  URL.revokeObjectURL($("sample").src);
  $("sample").src = URL.createObjectURL(image);
  $("example").hidden = false;
  draw(null);
}

function unpick() {
  state.image = null;
  draw(null);
  $("example").hidden = true;
  $("file").value = "";
  $("text").focus();
}

function draw(box) {
  state.box = box;
  $("box").hidden = $("unbox").hidden = !box;
  if (box) place($("box"), box);
}

function place(element, [x0, y0, x1, y1]) {
  Object.assign(element.style, {
    left: `${100 * x0}%`, top: `${100 * y0}%`, width: `${100 * (x1 - x0)}%`, height: `${100 * (y1 - y0)}%`,
  });
}

const within = (value) => Math.min(1, Math.max(0, value));

function drawing() {
  let start = null;
  const at = (event) => {
    const frame = $("sample").getBoundingClientRect();
    return [within((event.clientX - frame.left) / frame.width), within((event.clientY - frame.top) / frame.height)];
  };
  $("frame").onpointerdown = (event) => {
    start = at(event);
    $("frame").setPointerCapture(event.pointerId);
  };
  $("frame").onpointermove = (event) => {
    if (!start) return;
    const [x, y] = at(event);
    draw([Math.min(start[0], x), Math.min(start[1], y), Math.max(start[0], x), Math.max(start[1], y)]);
  };
  $("frame").onpointerup = $("frame").onpointercancel = () => {
    start = null;
    if (state.box && (state.box[2] - state.box[0] < 0.02 || state.box[3] - state.box[1] < 0.02)) draw(null); // a click
  };
  $("frame").onkeydown = (event) => {
    if (event.key === "Delete" || event.key === "Backspace") draw(null);
    if (event.key === "Enter") draw([0.25, 0.25, 0.75, 0.75]);
    const step = { ArrowLeft: [-0.02, 0], ArrowRight: [0.02, 0], ArrowUp: [0, -0.02], ArrowDown: [0, 0.02] }[event.key];
    if (!["Enter", "Delete", "Backspace"].includes(event.key) && !(step && state.box)) return;
    event.preventDefault();
    if (step && state.box) draw(moved(state.box, step, event.shiftKey));
  };
}

function moved([x0, y0, x1, y1], [dx, dy], sizing) {
  if (sizing) return [x0, y0, Math.max(x0 + 0.04, within(x1 + dx)), Math.max(y0 + 0.04, within(y1 + dy))];
  dx = Math.min(1 - x1, Math.max(-x0, dx));
  dy = Math.min(1 - y1, Math.max(-y0, dy));
  return [x0 + dx, y0 + dy, x1 + dx, y1 + dy];
}

// --- Hits ---

function make(tag, className, ...inside) {
  const element = document.createElement(tag);
  element.className = className;
  element.append(...inside);
  return element;
}

const nameOf = (hit) => hit.path.split("/").pop();
const percent = (share) => `${Math.round(100 * share)} %`;

function boxOf({ box, phrase }, at, labelled) {
  const one = make("div", `one hue${at % HUES}${box[3] > 0.9 ? " low" : ""}${box[0] > 0.5 ? " far" : ""}`);
  place(one, box);
  if (labelled && phrase) one.append(make("span", "", phrase));
  return one;
}

function card(hit, at) {
  const image = make("img", "");
  image.alt = hit.caption || nameOf(hit);
  image.loading = "lazy";
  show(image, `thumbnails/${hit.id}`);
  const legend = hit.boxes.map(({ phrase }, each) => phrase && make("span", `hue${each % HUES}`, phrase));
  const boxes = make("div", "boxes", ...hit.boxes.map((box, each) => boxOf(box, each, false)),
    make("div", "legend", ...legend.slice(0, 4)));
  const fitted = make("div", "fitted", image, boxes);
  const shape = (hit.width || 4) / (hit.height || 3);
  Object.assign(fitted.style, { aspectRatio: String(shape), [shape > 4 / 3 ? "width" : "height"]: "100%" });
  const bar = make("i", "");
  bar.style.width = `${100 * hit.confidence}%`;
  const numbers = make("div", "numbers", make("span", "", hit.score.toFixed(1)), make("span", "bar", bar),
    make("span", "", percent(hit.confidence)));
  numbers.title = "Score: standard deviations above unrelated pictures. Bar: confidence that this is no accident.";
  const under = make("div", "under", make("div", "label", hit.caption || nameOf(hit)), numbers);
  const button = make("button", `hit${hit.confidence < SURE ? " doubtful" : ""}`, make("div", "picture", fitted), under);
  button.type = "button";
  button.setAttribute("aria-label", `${image.alt}, score ${hit.score.toFixed(1)}, confidence ${percent(hit.confidence)}`);
  button.onclick = () => view(at);
  return make("li", "", button);
}

function list(hits) {
  state.hits = hits;
  const cards = hits.map(card);
  if (hits.length && hits.every((hit) => hit.confidence < SURE)) {
    cards.unshift(make("li", "notice", "Nothing matches with confidence. These are the nearest pictures."));
  }
  $("grid").replaceChildren(...cards);
}

function walk(event) {
  const cards = [...document.querySelectorAll(".hit")];
  const at = cards.indexOf(document.activeElement);
  if (at < 0) return;
  const top = cards[0].getBoundingClientRect().top;
  const columns = Math.max(1, cards.findIndex((one) => one.getBoundingClientRect().top > top + 4));
  const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[event.key];
  if (!step || !cards[at + step]) return;
  event.preventDefault();
  cards[at + step].focus();
}

// --- One hit, large, and where its phrases are ---

function view(at) {
  const hit = state.hits[at];
  Object.assign(state, { at, seen: hit.boxes.map((box) => ({ ...box })), asked: null });
  $("name").textContent = nameOf(hit);
  $("facts").textContent = [
    `Score ${hit.score.toFixed(2)}`, `confidence ${percent(hit.confidence)}`, hit.width && `${hit.width} × ${hit.height}`,
    hit.path !== nameOf(hit) && hit.path,
  ].filter(Boolean).join(" · ");
  $("facts").title = hit.similarities.map(([name, value]) => `${name} ${value.toFixed(3)}`).join(", ");
  $("words").textContent = hit.caption;
  $("large").alt = hit.caption || nameOf(hit);
  if (hit.width) $("large").style.aspectRatio = `${hit.width} / ${hit.height}`;
  $("large").removeAttribute("src");
  delete $("large").dataset.path;
  show($("large"), `pictures/${hit.id}?side=1600`).catch(() => show($("large"), `thumbnails/${hit.id}`));
  $("large").onerror = () => show($("large"), `thumbnails/${hit.id}`); // the original may be gone
  $("original").href = `pictures/${hit.id}`;
  $("original").hidden = Boolean(state.key);
  $("before").disabled = at === 0;
  $("after").disabled = at === state.hits.length - 1;
  choose(-1);
  if (!$("viewer").open) $("viewer").showModal();
}

function phrases() {
  const rows = state.seen.map(({ phrase, similarity }, at) => {
    const button = make("button", `hue${at % HUES}`, phrase || "what was asked for", make("small", "", similarity.toFixed(2)));
    button.type = "button";
    button.setAttribute("aria-pressed", String(at === state.asked));
    button.onclick = () => choose(at === state.asked ? -1 : at);
    return make("li", "", button);
  });
  $("phrases").replaceChildren(...rows);
  $("where-is").hidden = !rows.length;
}

async function choose(at) {
  state.asked = at;
  const chosen = state.seen[at];
  const shown = state.seen.map((box, each) => [box, each]).filter(([, each]) => at < 0 || each === at);
  $("boxes").replaceChildren(...shown.map(([box, each]) => boxOf(box, each, true)));
  $("heat").hidden = true;
  const focused = document.activeElement?.closest?.("#phrases li");
  const row = focused ? [...$("phrases").children].indexOf(focused) : -1;
  phrases();
  if (row >= 0) $("phrases").children[row]?.firstChild.focus();
  if (!chosen?.phrase) return;
  try {
    chosen.heat ??= (await explain([chosen.phrase]))[0].heat;
    if (state.seen[state.asked] === chosen) paint(chosen.heat);
  } catch (error) {
    $("facts").textContent = error.message;
  }
}

async function explain(texts) {
  const answer = await call("explain", { id: state.hits[state.at].id, phrases: texts });
  return (await answer.json()).explanations;
}

async function lookFor(text) {
  const seen = state.seen;
  const [found] = await explain([text]);
  if (state.seen !== seen) return;
  seen.push(found);
  choose(seen.length - 1);
}

// From nothing over violet and orange to yellow, as in the maps that people know from papers.
const RAMP = [[20, 8, 60, 0], [90, 20, 130, 70], [190, 50, 90, 130], [245, 130, 40, 175], [255, 225, 90, 200]];

function paint(heat) {
  const [rows, columns] = [heat.length, heat[0].length];
  const small = new OffscreenCanvas(columns, rows);
  const pixels = new ImageData(columns, rows);
  heat.flat().forEach((value, at) => {
    const place = within(value) * (RAMP.length - 1);
    const low = Math.min(RAMP.length - 2, Math.floor(place));
    RAMP[low].forEach((side, color) => {
      pixels.data[4 * at + color] = side + (RAMP[low + 1][color] - side) * (place - low);
    });
  });
  small.getContext("2d").putImageData(pixels, 0, 0);
  const canvas = $("heat");
  canvas.width = 512;
  canvas.height = Math.max(1, Math.round((512 * $("large").clientHeight) / Math.max(1, $("large").clientWidth)));
  const brush = canvas.getContext("2d");
  brush.imageSmoothingQuality = "high";
  brush.drawImage(small, 0, 0, canvas.width, canvas.height);
  canvas.hidden = false;
}

async function useAsExample() {
  const hit = state.hits[state.at];
  const blob = await (await call(`pictures/${hit.id}?side=1600`)).blob();
  pick(new File([blob], nameOf(hit), { type: blob.type }));
  $("viewer").addEventListener("close", () => $("frame").focus(), { once: true }); // after what closing itself does
  $("viewer").close();
  scrollTo({ top: 0 });
  say("Draw a box on the picture, then search.");
}

// --- Wiring ---

function wire() {
  const failing = (work) => (...given) => work(...given)?.catch?.((error) => say(error.message, true));
  $("search").onsubmit = (event) => {
    event.preventDefault();
    search();
  };
  $("text").onkeydown = (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      search();
    }
  };
  $("file").onchange = () => {
    if ($("file").files.length) pick($("file").files[0]);
  };
  $("unpick").onclick = unpick;
  $("unbox").onclick = () => draw(null);
  $("more").onclick = () => showOptions($("options").hidden);
  $("options").oninput = countOptions;
  $("options").onchange = () => {
    if (state.hits.length) search();
  };
  $("like").onclick = () => similar(state.hits[state.at]);
  $("use").onclick = failing(useAsExample);
  $("close").onclick = () => $("viewer").close();
  $("before").onclick = () => view(state.at - 1);
  $("after").onclick = () => view(state.at + 1);
  $("viewer").onclick = (event) => {
    if (event.target === $("viewer")) $("viewer").close(); // what lies around it; a handler must not return false
  };
  $("viewer").onclose = () => document.querySelectorAll(".hit")[state.at]?.focus();
  $("ask-where").onsubmit = (event) => {
    event.preventDefault();
    const text = $("phrase").value.trim();
    $("phrase").value = "";
    if (text) lookFor(text).catch((error) => ($("facts").textContent = error.message));
  };
  $("theme").onclick = () => {
    const dark = getComputedStyle(document.documentElement).colorScheme === "dark" ||
      (!localStorage.getItem("theme") && matchMedia("(prefers-color-scheme: dark)").matches);
    theme(dark ? "light" : "dark");
  };
  document.onkeydown = (event) => {
    const typing = event.target.matches("input, textarea, select");
    if ($("viewer").open && !typing) {
      if (event.key === "ArrowLeft" && state.at > 0) view(state.at - 1);
      if (event.key === "ArrowRight" && state.at < state.hits.length - 1) view(state.at + 1);
    } else if (event.key === "/" && !typing) {
      event.preventDefault();
      $("text").select();
    } else walk(event);
  };
  document.onpaste = (event) => {
    const image = [...event.clipboardData.files].find((file) => file.type.startsWith("image/"));
    if (image) pick(image);
  };
  let inside = 0; // enter and leave are told for every element on the way
  document.ondragenter = (event) => {
    if (![...event.dataTransfer.types].includes("Files")) return;
    inside++;
    $("drop").hidden = false;
  };
  document.ondragleave = () => {
    inside = Math.max(0, inside - 1);
    $("drop").hidden = !inside;
  };
  document.ondragover = (event) => event.preventDefault();
  document.ondrop = (event) => {
    event.preventDefault();
    inside = 0;
    $("drop").hidden = true;
    if (event.dataTransfer.files.length) pick(event.dataTransfer.files[0]);
  };
  onpopstate = recall;
  drawing();
}

function theme(name) {
  if (!name) return;
  localStorage.setItem("theme", name);
  document.documentElement.style.colorScheme = name;
}

async function greet() {
  const { pictures, model, status } = await (await fetch("health")).json();
  const state = status === "ok" ? "" : ` · ${status}`;
  $("about").textContent = `${pictures.toLocaleString("en")} pictures · ${model}${state}`;
}

theme(localStorage.getItem("theme"));
document.body.classList.add("fresh");
wire();
recall();
greet().catch(() => say("The service cannot be reached.", true));
