// Fine-tuning beside the robot. Shown only when a trainer runs.
const get = (id) => document.getElementById(id);

function long(seconds) {
  if (seconds < 0) return "";
  if (seconds < 90) return `${Math.round(seconds)} s left`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min left` : `${(seconds / 3600).toFixed(1)} h left`;
}

export function showTraining(training) {
  get("train").hidden = !training;
  if (!training) return;
  const { running, step, steps, left, loss, message } = training;
  const numbers = step
    ? [`step ${step}${steps ? ` of ${steps}` : ""}`, running ? long(left) : "", loss === null ? "" : `loss ${loss.toFixed(3)}`]
    : [running ? "starting" : "ready"];
  const words = numbers.filter(Boolean).join(" · ");
  if (get("train-words").textContent !== words) get("train-words").textContent = words;
  const end = running ? "" : message;
  if (get("train-end").textContent !== end) get("train-end").textContent = end;
  get("train-end").hidden = !end;
  get("train-bar").hidden = !running;
  get("train-bar").value = steps ? step / steps : 0;
  get("train-start").hidden = running;
  get("train-stop").hidden = !running;
}

/** ask(choice): sends start or stop. */
export function wireTraining(ask) {
  get("train-start").addEventListener("click", () => ask("start"));
  get("train-stop").addEventListener("click", () => ask("stop"));
}
