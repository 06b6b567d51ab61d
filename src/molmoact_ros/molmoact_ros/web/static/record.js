// Takes: record, say how it went, work through a list. Shown only when a recorder runs.
const get = (id) => document.getElementById(id);
const SHOWN = {
  idle: ["start", "next_task"],
  recording: ["success", "failure", "discard", "stop"],
  saving: [],
  unlabelled: ["success", "failure", "discard", "redo"],
};
const WORDS = { idle: "ready", recording: "recording", saving: "saving", unlabelled: "how did it go?" };

const clock = (seconds) => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
const put = (id, text) => {
  if (get(id).textContent !== text) get(id).textContent = text;
  get(id).hidden = !text;
};

export function showRecorder({ recorder, tasks }) {
  get("rec").hidden = !recorder;
  if (!recorder) return;
  get("rec").dataset.state = recorder.state;
  const length = recorder.state === "recording" ? `${clock(recorder.elapsed)} · ${recorder.megabytes.toFixed(0)} MB` : "";
  get("rec-words").textContent = [WORDS[recorder.state], length].filter(Boolean).join(" · ");
  const list = tasks?.tasks ?? [];
  const mine = list.find(([words]) => words === tasks.task);
  const count = mine ? ` (${mine[1]}${mine[2] ? ` of ${mine[2]}` : ""} good)` : "";
  put("rec-task", tasks?.prompt || (recorder.state === "recording" ? recorder.task : tasks?.task ? `Next: ${tasks.task}${count}` : ""));
  const bad = recorder.topics[0];
  put("rec-warning", recorder.warnings[0] ?? (bad ? `${bad.topic}: ${bad.detail}` : recorder.dropped ? `${recorder.dropped} messages were lost` : ""));
  for (const button of document.querySelectorAll("[data-record]")) {
    const choice = button.dataset.record;
    button.hidden = !(SHOWN[recorder.state].includes(choice) && (choice !== "next_task" || list.length > 1))
      && !(choice === "scene_changed" && recorder.state === "idle" && tasks?.prompt);
  }
}

/** ask(choice): sends one of the choices. */
export function wireRecorder(ask) {
  for (const button of document.querySelectorAll("[data-record]")) {
    button.addEventListener("click", () => ask(button.dataset.record));
  }
}
