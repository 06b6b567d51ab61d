// The action chunk as bars with units, and the thoughts with the time of each stage.
const SVG = "http://www.w3.org/2000/svg";
const DEGREES = 180 / Math.PI;
const COLUMNS = [
  ["dx", "mm", 1000], ["dy", "mm", 1000], ["dz", "mm", 1000],
  ["roll", "°", DEGREES], ["pitch", "°", DEGREES], ["yaw", "°", DEGREES],
];
const LEAST_FULL = [0.002, 0.02]; // below these (metres, radians a row) a chunk is at rest

const make = (tag, className, text) => {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
};
const drawn = (tag, attributes) => {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
};
const when = (index, row) => (index < row ? "done" : index === row ? "now" : "");

/** rows: [N][7] in metres, radians, 1 open 0 closed; row: the one now, -1 before the first. */
export function drawChunk(rows, row) {
  const count = rows.length;
  const progress = document.getElementById("chunk-progress");
  progress.replaceChildren(...rows.map((_, i) => make("li", when(i, row))));
  const words = document.getElementById("chunk-row");
  words.textContent = !count ? "none yet" : row >= count ? `all ${count} rows done` : row < 0 ? `${count} rows wait` : `row ${row + 1} of ${count}`;
  const scales = [0, 3].map((first, group) =>
    Math.max(LEAST_FULL[group], ...rows.flatMap((r) => r.slice(first, first + 3).map(Math.abs))));
  const shown = rows[Math.min(Math.max(row, 0), count - 1)];
  const lines = COLUMNS.map(([name, unit, factor], column) => {
    const value = shown ? signed(shown[column] * factor) + " " + unit : "–";
    return line(name, value, rows, (r, i) => bar(r[column] / scales[column < 3 ? 0 : 1], i, count, when(i, row)));
  });
  const grip = shown ? (shown[6] >= 0.5 ? "open" : "closed") : "–";
  lines.push(line("gripper", grip, rows, (r, i) => fingers(r[6] >= 0.5, i, count, when(i, row))));
  document.getElementById("chunk-bars").replaceChildren(...lines);
}

const signed = (value) => (value <= -0.05 ? "−" : "+") + Math.abs(value).toFixed(1); // never −0.0

function line(name, value, rows, draw) {
  const row = make("div");
  const picture = drawn("svg", { viewBox: "0 0 100 20", preserveAspectRatio: "none", "aria-hidden": "true" });
  picture.append(drawn("line", { x1: 0, x2: 100, y1: 10, y2: 10 }), ...rows.flatMap(draw));
  row.append(make("span", "", name), picture, make("span", "", value));
  return row;
}

function bar(part, index, count, state) {
  const height = Math.max(0.8, Math.abs(part) * 9.5), width = 100 / count;
  return [drawn("rect", { class: state, x: index * width + 0.5, width: width - 1, y: part > 0 ? 10 - height : 10, height })];
}

function fingers(open, index, count, state) {
  const width = 100 / count, x = index * width + 0.5;
  const at = open ? [5, 13] : [9]; // two fingers apart, or one line: shape, not only colour
  return at.map((y) => drawn("rect", { class: `${state} ${open ? "" : "closed"}`, x, width: width - 1, y, height: open ? 2 : 3 }));
}

const plain = (stage) => stage.replaceAll("_", " ");
const total = (thought) => Object.values(thought.timings).reduce((sum, s) => sum + (s || 0), 0);
const SHADES = 4; // as many as an eye tells apart in a bar of 14 pixels

/** The shade of each stage: the longest have their own, all others share the last. */
function shades(thoughts) {
  const sums = new Map();
  for (const { timings } of thoughts) {
    for (const [stage, seconds] of Object.entries(timings)) sums.set(stage, (sums.get(stage) ?? 0) + (seconds || 0));
  }
  const longest = [...sums].sort((a, b) => b[1] - a[1]).map(([stage]) => stage);
  const own = sums.size > SHADES ? longest.slice(0, SHADES - 1) : longest;
  const shown = [...sums.keys()].filter((stage) => own.includes(stage)); // in the order of thinking
  const of = (stage) => (own.includes(stage) ? `s${own.indexOf(stage)}` : "s4"); // the longest is the strongest
  return { of, shown, rest: sums.size > shown.length };
}

/** thoughts: newest first. */
export function drawThoughts(thoughts) {
  document.getElementById("thoughts-empty").hidden = thoughts.length > 0;
  if (!thoughts.length) return;
  const { of, shown, rest } = shades(thoughts);
  const longest = Math.max(...thoughts.map(total), 1e-6);
  document.getElementById("legend").replaceChildren(
    ...shown.map((stage) => make("span", of(stage), plain(stage))), ...(rest ? [make("span", "s4", "other")] : []));
  document.getElementById("thought-words").textContent =
    `last ${total(thoughts[0]).toFixed(2)} s, ${thoughts[0].actions.length} actions`;
  const list = document.getElementById("thoughts");
  const known = new Map([...list.children].map((item) => [item.dataset.number, item]));
  const items = thoughts.map((thought) => known.get(String(thought.number)) ?? thoughtItem(thought));
  // Only what changed: an item that is put in again plays its arrival again, and the list flickers.
  for (const item of known.values()) if (!items.includes(item)) item.remove();
  list.prepend(...items.filter((item) => !item.isConnected));
  thoughts.forEach((thought, i) => {
    const track = items[i].querySelector(".track");
    track.style.width = `${(100 * total(thought)) / longest}%`;
    for (const piece of track.children) piece.className = of(piece.dataset.stage);
  });
}

function thoughtItem(thought) {
  const item = make("li", thought.steered ? "steered" : "");
  item.dataset.number = thought.number;
  item.title = thought.instruction;
  const track = make("div", "track");
  for (const [stage, seconds] of Object.entries(thought.timings)) {
    const piece = make("i");
    piece.dataset.stage = stage;
    piece.style.flexGrow = Math.max(seconds || 0, 1e-4);
    piece.title = `${plain(stage)} ${(seconds || 0).toFixed(3)} s`;
    track.append(piece);
  }
  item.append(make("span", "number", `${thought.steered ? "✎" : "#"}${thought.chunk_id}`), track,
    make("span", "time", `${total(thought).toFixed(2)} s`));
  if (thought.refusal) item.append(make("span", "note", `▲ refused: ${thought.refusal}`));
  return item;
}
