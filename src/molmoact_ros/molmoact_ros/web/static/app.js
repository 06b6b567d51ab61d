// The page: puts what the robot tells into words and pictures, and asks it for commands.
import { Link } from "./link.js";
import { Stage, showSmall } from "./stage.js";
import { drawChunk, drawThoughts } from "./thoughts.js";

const EXTERNAL = 1, WRIST = 2, DEPTH = 3;
const OLD_S = 1.0; // the policy refuses older pictures, so the page must not look live
const HISTORY = 24;

const get = (id) => document.getElementById(id);
const link = new Link();
const stage = new Stage(get("view"));
let status = {};
let thoughts = [];
let lastStamp = null;
let toastTimer = 0;

link.addEventListener("open", () => setLink("open", "Connected", ""));
link.addEventListener("lost", ({ detail }) => {
  const words = detail.refused
    ? "A token is needed: open the address that the terminal printed."
    : "Connection lost. This picture is old and the robot may still move. Trying again; STOP still tries another way.";
  setLink("lost", "No connection", words);
  // The last words heard may be wrong by now, and "Ready" over a dead line would mislead.
  showWords({ level: "stop", title: "Unknown", next: "The robot's state is not known without a connection." });
});
link.addEventListener("hello", () => { thoughts = []; });
link.addEventListener("error", ({ detail }) => toast(detail.message, true));
link.addEventListener("status", ({ detail }) => showStatus(detail));
link.addEventListener("thought", ({ detail }) => {
  thoughts = [{ ...detail.thought, number: detail.number }, ...thoughts].slice(0, HISTORY);
  drawThoughts(thoughts);
  if (!detail.thought.refusal) stage.setTrace(detail.thought.trace);
  showChunk();
});
link.addEventListener("picture", ({ detail: { stream, stamp, bitmap } }) => {
  if (stream === EXTERNAL) {
    stage.show(bitmap);
    lastStamp = stamp;
  } else if (stream === WRIST) showSmall(get("wrist"), bitmap);
  else if (stream === DEPTH) showSmall(get("depth"), bitmap);
  else bitmap.close();
});

function setLink(state, words, banner) {
  document.body.dataset.link = state;
  get("link-words").textContent = words;
  get("banner").textContent = banner;
  get("banner").hidden = !banner;
  for (const id of ["start", "reset", "home", "new-scene"]) get(id).disabled = state !== "open";
}

function showStatus(news) {
  const first = !status.session;
  status = news;
  const { session, policy, arm, words } = news;
  setText("thinker", session.thinker || "unknown");
  get("thinker").title = session.thinker;
  setText("robot", [session.robot || "unknown", arm && (arm.connected ? "" : "not connected")].filter(Boolean).join(", "));
  showWords(words);
  setText("doing", policy?.instruction ?? "");
  get("doing").hidden = !policy?.instruction;
  get("new-scene").hidden = !session.can_new_scene;
  stage.resting = !policy || policy.phase === "idle" || policy.phase === "fault";
  stage.setExecuted(news.executed);
  showSuggestions(session.suggestions);
  if (first) document.querySelector(`input[value="${session.default_mode}"]`)?.click();
  showChunk();
}

function showWords({ level, title, next }) {
  get("status").dataset.level = level;
  setText("status-title", title);
  setText("status-next", next);
}

let chunkKey = "";
function showChunk() {
  const policy = status.policy;
  const running = thoughts.find((thought) => thought.chunk_id === policy?.chunk_id) ?? thoughts[0];
  const rows = running?.actions ?? [];
  const row = !policy || running?.chunk_id !== policy.chunk_id ? -1 : policy.row;
  const key = `${running?.number} ${row}`;
  if (key === chunkKey) return;
  chunkKey = key;
  drawChunk(rows, row);
}

let suggestionKey = "";
function showSuggestions(list) {
  get("more").hidden = !list.length;
  if (suggestionKey === (suggestionKey = list.join("\n"))) return;
  get("suggestions").replaceChildren(...list.map((text) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = text;
    button.addEventListener("click", () => {
      get("instruction").value = text;
      openSuggestions(false);
      get("start").focus();
    });
    return button;
  }));
}

// Screen readers repeat a live region whenever it is written, so write only changes.
function setText(id, text) {
  if (get(id).textContent !== text) get(id).textContent = text;
}

function toast(message, bad = false) {
  clearTimeout(toastTimer);
  get("toast").textContent = (bad ? "▲ " : "") + message;
  get("toast").classList.toggle("bad", bad);
  get("toast").hidden = false;
  toastTimer = setTimeout(() => { get("toast").hidden = true; }, bad ? 8000 : 3500);
}

async function command(type, fields) {
  const answer = await link.ask(type, fields);
  toast(answer.message, answer.type === "error");
}

async function stop() {
  get("stop").classList.add("sent");
  const answer = await link.stop();
  get("stop").classList.remove("sent");
  toast(answer.message, answer.type === "error");
}

function openSuggestions(open) {
  get("suggestions").hidden = !open;
  get("more").setAttribute("aria-expanded", String(open));
}

get("form").addEventListener("submit", (event) => {
  event.preventDefault();
  const box = get("instruction");
  const instruction = box.value.trim();
  openSuggestions(false);
  if (!instruction) { // an arm must never move for a text that nobody chose
    toast("Type what the robot should do, or choose a suggestion.", true);
    box.focus();
    return;
  }
  box.blur(); // so that Space stops from now on
  const mode = new FormData(get("form")).get("mode") ?? "auto";
  command("start", { instruction, mode });
});
get("stop").addEventListener("pointerdown", stop); // a press, not a release, stops
get("stop").addEventListener("click", (event) => { if (event.detail === 0) stop(); }); // Enter, tools
get("reset").addEventListener("click", () => command("reset"));
get("home").addEventListener("click", () => command("home"));
get("new-scene").addEventListener("click", () => command("new_scene"));
get("more").addEventListener("click", () => openSuggestions(get("suggestions").hidden));
for (const [id, field] of [["show-trace", "showTrace"], ["show-executed", "showExecuted"]]) {
  get(id).addEventListener("click", () => {
    stage[field] = !stage[field];
    get(id).setAttribute("aria-pressed", String(stage[field]));
    stage.redraw();
  });
}
document.addEventListener("pointerdown", (event) => {
  if (!event.target.closest(".ask")) openSuggestions(false);
});

// Space stops wherever one is not typing, even on a focused button: Enter presses buttons.
document.addEventListener("keydown", (event) => {
  const typing = event.target.closest?.("input:not([type=radio]), textarea, [contenteditable]");
  if (event.code === "Space" && !typing) {
    event.preventDefault();
    if (!event.repeat) stop();
  } else if (event.key === "Escape") openSuggestions(false);
  else if (event.key === "/" && !typing) {
    event.preventDefault();
    get("instruction").focus();
  } else if (typing && event.key === "ArrowDown" && !get("more").hidden) {
    openSuggestions(true);
    get("suggestions").querySelector("button")?.focus();
  }
}, true);
document.addEventListener("keyup", (event) => {
  if (event.code === "Space" && event.target.closest?.("button")) event.preventDefault();
}, true);

setInterval(() => {
  if (lastStamp === null) return;
  const age = link.age(lastStamp);
  const old = age !== null && age > OLD_S;
  get("badge").hidden = false;
  get("badge").classList.toggle("old", old);
  get("badge").textContent = age === null ? "Live" : `${old ? "Old picture" : "Live"}, ${Math.max(0, age).toFixed(old ? 1 : 2)} s`;
}, 250);

drawChunk([], -1);
