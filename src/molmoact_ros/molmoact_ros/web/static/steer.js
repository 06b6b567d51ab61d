// Steering by hand: the bar under the picture while the pen draws, the path that steers, the plan.
import { MOST } from "./pen.js";

const TOO_OLD_S = 25; // the robot refuses paths on pictures older than 30 s
const get = (id) => document.getElementById(id);

export class Steering {
  /** tell(words, bad): shows a message. startWith(): starts the typed instruction, or resolves null. */
  constructor(pen, stage, link, tell, startWith) {
    Object.assign(this, { pen, stage, link, tell, startWith, plan: 0, policy: null });
    pen.addEventListener("change", () => this.show());
    pen.addEventListener("full", () => tell(`${MOST} points are enough: drag one of them.`, true));
    pen.addEventListener("refused", () => tell(link.open && stage.frame ? "You are watching. Press Take over to draw." : "There is no picture to draw on yet.", true));
    get("send").addEventListener("click", () => this.send());
    get("undo").addEventListener("click", () => pen.undo());
    get("discard").addEventListener("click", () => pen.discard());
    get("refresh").addEventListener("click", () => pen.refresh());
    get("unsteer").addEventListener("click", () => this.command("clear"));
    get("pen-toggle").addEventListener("click", () => this.toggle(!pen.on));
    for (const button of document.querySelectorAll("[data-review]")) {
      button.addEventListener("click", () => this.review(button.dataset.review));
    }
    get("view").addEventListener("keydown", (event) => this.arrows(event));
    setInterval(() => this.age(), 250);
    this.toggle(!matchMedia("(max-width: 599px), (max-height: 520px)").matches); // there a finger scrolls
  }

  toggle(on) {
    this.pen.on = on;
    if (!on && this.pen.drawing) this.pen.discard();
    document.body.dataset.pen = on ? "on" : "off";
    get("pen-toggle").setAttribute("aria-pressed", String(on));
  }

  /** News from the robot: who steers, and whether a plan waits. */
  status({ policy, sketch }) {
    this.policy = policy;
    this.stage.setHuman(sketch ?? []);
    get("steered").hidden = !sketch?.length;
    const waits = policy?.phase === "awaiting_approval";
    this.plan = waits ? policy.chunk_id : 0;
    get("plan").hidden = !waits || this.pen.drawing;
    if (waits) get("plan-title").textContent = `Plan ${this.plan} waits for you`;
    this.show();
  }

  get idle() { return !this.policy || ["idle", "fault"].includes(this.policy.phase); }

  show() {
    const { pen } = this, count = pen.points.length;
    get("sketchbar").hidden = !pen.drawing;
    get("toolbar").hidden = pen.drawing;
    get("seen").hidden = !pen.drawing || !pen.ready;
    get("sketch-count").textContent = count ? `${count} of ${MOST} points` : "Draw a path";
    get("send").disabled = !pen.ready;
    get("send-words").textContent = this.idle && get("instruction").value.trim() ? "Start on this path" : "Send path";
    if (pen.drawing) get("plan").hidden = true;
    else if (this.plan) get("plan").hidden = false;
    this.place();
  }

  /** The preview in the first corner where it covers nothing that is drawn. */
  place() {
    const seen = get("seen"), view = get("view");
    if (seen.hidden) return;
    const wide = (seen.offsetWidth + 40) / view.clientWidth * 255, tall = (seen.offsetHeight + 40) / view.clientHeight * 255;
    const covered = ([left, low]) => this.pen.points.some(([x, y]) =>
      (left ? x < wide : x > 255 - wide) && (low ? y > 255 - tall : y < tall + (left ? 30 : 0)));
    const [left, low] = [[0, 0], [1, 0], [0, 1], [1, 1]].find((corner) => !covered(corner)) ?? [0, 0];
    seen.classList.toggle("left", Boolean(left));
    seen.classList.toggle("low", Boolean(low));
  }

  age() {
    if (!this.pen.drawing) return;
    const age = this.link.age(this.pen.frame.stamp);
    const old = age !== null && age > TOO_OLD_S;
    get("refresh").hidden = !old;
    get("badge").hidden = false;
    get("badge").classList.toggle("old", old);
    get("badge").classList.add("held");
    get("badge").textContent = age === null ? "Frozen" : `Frozen, ${Math.max(0, age).toFixed(1)} s old`;
  }

  async send() {
    const { pen, link } = this;
    if (!pen.ready || this.sending) return;
    this.sending = true;
    const starts = this.idle;
    const until_cleared = document.querySelector("input[name=lifetime]:checked").value === "until";
    const answer = await link.ask("steer", { frame: pen.frame.number, points: pen.points, until_cleared });
    this.sending = false;
    if (answer.type === "error") {
      this.tell(answer.message, true);
      return;
    }
    pen.discard();
    const started = starts ? await this.startWith() : null;
    if (starts && !started) this.tell("Your path waits: type an instruction and press Start.");
    else if (!started) this.tell(`Sent: ${answer.message}.`);
  }

  async command(type, fields) {
    const answer = await this.link.ask(type, fields);
    this.tell(answer.message, answer.type === "error");
  }

  review(choice) {
    if (this.plan) this.command("review", { plan: this.plan, choice });
  }

  arrows(event) {
    const step = event.shiftKey ? 1 : 5;
    const way = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[event.key];
    if (!way || !this.pen.drawing) return;
    event.preventDefault();
    this.pen.nudge(...way);
  }

  /** A key that was not typed into a box. Whether it meant something here. */
  key(event) {
    const { pen } = this, key = event.key.toLowerCase();
    if (event.ctrlKey || event.metaKey || event.altKey) return false;
    if (key === "p") {
      pen.put();
      get("view").focus({ preventScroll: true });
    } else if (pen.drawing && key === "backspace") pen.undo();
    else if (pen.drawing && key === "escape") pen.discard();
    else if (pen.drawing && key === "enter" && !event.target.closest("button")) this.send();
    else if (this.plan && !pen.drawing && key === "a") this.review("approve");
    else if (this.plan && !pen.drawing && key === "r") this.review("rethink");
    else if (this.plan && !pen.drawing && key === "x") this.review("reject");
    else return false;
    event.preventDefault();
    return true;
  }
}
