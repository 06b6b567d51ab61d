// The page: puts what the robot tells into words and pictures, and asks it for commands.
import { Link } from "./link.js";
import { recent, remember } from "./history.js";
import { wireJog } from "./jog.js";
import { Pen } from "./pen.js";
import { showRecorder, wireRecorder } from "./record.js";
import { Stage, showSmall } from "./stage.js";
import { Steering } from "./steer.js";
import { showTraining, wireTraining } from "./train.js";
import { drawChunk, drawThoughts } from "./thoughts.js";

const EXTERNAL = 1, WRIST = 2, DEPTH = 3, PREVIEW = 4;
const OLD_S = 1.0; // the policy refuses older pictures, so the page must not look live
const HISTORY = 24;
const DRIVERS = "#start, #reset, #home, #new-scene, #unsteer, #plan button, #rec button, #train button, #hand button, #jog button";

const get = (id) => document.getElementById(id);
const link = new Link();
const stage = new Stage(get("view"));
const pen = new Pen(get("view"), stage, link);
const steering = new Steering(pen, stage, link, toast, startTyped);
const glass = []; // seconds from a picture's stamp to the screen, for who measures it
window.molmoact = { glass, pen, stage, link };
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
  if (pen.drawing) pen.discard();
  // The last words heard may be wrong by now, and "Ready" over a dead line would mislead.
  showWords({ level: "stop", title: "Unknown", next: "The robot's state is not known without a connection." });
});
link.addEventListener("hello", () => { thoughts = []; });
link.addEventListener("role", ({ detail }) => showRole(detail));
link.addEventListener("error", ({ detail }) => toast(detail.message, true));
link.addEventListener("status", ({ detail }) => showStatus(detail));
link.addEventListener("thought", ({ detail }) => {
  thoughts = [{ ...detail.thought, number: detail.number }, ...thoughts].slice(0, HISTORY);
  drawThoughts(thoughts);
  if (!detail.thought.refusal && !detail.thought.steered) stage.setTrace(detail.thought.trace);
  showChunk();
});
link.addEventListener("picture", ({ detail: { stream, number, stamp, bitmap } }) => {
  if (stream === EXTERNAL) {
    if (!stage.show(bitmap, { number, stamp })) return;
    lastStamp = stamp;
    requestAnimationFrame(() => {
      glass.push(link.age(stamp));
      if (glass.length > 300) glass.shift();
    });
  } else if (stream === PREVIEW) showSmall(get("preview"), bitmap);
  else if (stream === WRIST) showSmall(get("wrist"), bitmap);
  else if (stream === DEPTH) showSmall(get("depth"), bitmap);
  else bitmap.close();
});

function setLink(state, words, banner) {
  document.body.dataset.link = state;
  get("link-words").textContent = words;
  get("banner").textContent = banner;
  get("banner").hidden = !banner;
  if (state !== "open") showRole({ driving: false, driver: "" });
}

let driving = false;
function showRole(role) {
  driving = role.driving && link.open;
  const seat = driving ? "driving" : role.driver ? "watching" : "free";
  get("seat").dataset.seat = seat;
  setText("seat-words", { driving: "You drive", watching: `Watching, ${role.driver} drives`, free: link.open ? "Nobody drives" : "Not connected" }[seat]);
  get("seat-button").hidden = !link.open;
  setText("seat-button", driving ? "Hand over" : "Take over");
  pen.allowed = driving;
  if (!driving && pen.drawing) pen.discard();
  document.body.dataset.seat = seat;
  for (const button of document.querySelectorAll(DRIVERS)) button.disabled = !driving;
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
  steering.status(news);
  showRecorder(news);
  showTraining(news.training);
  showHand(session, news.command);
  showSuggestions(session.suggestions);
  if (first) document.querySelector(`input[value="${session.default_mode}"]`)?.click();
  showChunk();
}

function showWords({ level, title, next }) {
  get("status").dataset.level = level;
  setText("status-title", title);
  setText("status-next", next);
}

function showHand(session, command) {
  const by = command?.source ?? "hold";
  get("hand").hidden = !session.has_teleop && by !== "teleop";
  get("jog").hidden = get("jog-words").hidden = !session.has_teleop;
  setText("hand-words", { policy: "the policy", teleop: "a person's hand", hold: "nobody" }[by]);
  for (const button of document.querySelectorAll("[data-hand]")) {
    button.setAttribute("aria-pressed", String(button.dataset.hand === by));
  }
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
  const past = recent().filter((text) => !list.includes(text));
  get("more").hidden = !list.length && !past.length;
  if (suggestionKey === (suggestionKey = [...list, "", ...past].join("\n"))) return;
  const heading = (text) => Object.assign(document.createElement("p"), { textContent: text });
  const choice = (text) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = text;
    button.addEventListener("click", () => {
      get("instruction").value = text;
      openSuggestions(false);
      get("start").focus();
    });
    return button;
  };
  get("suggestions").replaceChildren(
    ...(past.length ? [heading("Asked before"), ...past.map(choice), heading("Suggestions")] : []),
    ...list.map(choice));
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

/** Start what is typed; null when nothing is: an arm must never move for a text nobody chose. */
async function startTyped() {
  const instruction = get("instruction").value.trim();
  if (!instruction) return null;
  get("instruction").blur(); // so that Space stops from now on
  const mode = new FormData(get("form")).get("mode") ?? "auto";
  remember(instruction);
  await command("start", { instruction, mode });
  return instruction;
}

get("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  openSuggestions(false);
  if (await startTyped()) return;
  toast("Type what the robot should do, or choose a suggestion.", true);
  get("instruction").focus();
});
get("seat-button").addEventListener("click", () => command("drive", { want: !driving }));
wireJog(link);
wireRecorder((choice) => command("record", { choice }));
wireTraining((choice) => command("train", { choice }));
for (const button of document.querySelectorAll("[data-hand]")) {
  button.addEventListener("click", () => command("hand", { choice: button.dataset.hand }));
}
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
  } else if (!typing && steering.key(event)) return;
  else if (event.key === "Escape") openSuggestions(false);
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
  if (lastStamp === null || pen.drawing) return;
  const age = link.age(lastStamp);
  const old = age !== null && age > OLD_S;
  get("badge").hidden = false;
  get("badge").classList.remove("held");
  get("badge").classList.toggle("old", old);
  get("badge").textContent = age === null ? "Live" : `${old ? "Old picture" : "Live"}, ${Math.max(0, age).toFixed(old ? 1 : 2)} s`;
}, 250);

drawChunk([], -1);
