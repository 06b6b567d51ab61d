// The pen: freezes the picture it falls on and makes two to five points of a stroke or of clicks.
export const MOST = 5;
const HIT_PX = 26, SNAP_PX = 22, CLICK_PX = 10;
const STRAIGHT = 3.5; // grid units; a stroke bent less than this needs no further point
const PALM_MS = 1500;
const PREVIEW_MS = 90;

const clamp = (value) => Math.min(255, Math.max(0, value));
const far = (a, b) => Math.hypot(a[0] - b[0], a[1] - b[1]);

/** How far p lies from the piece a-b. */
function off(p, a, b) {
  const dx = b[0] - a[0], dy = b[1] - a[1], length = dx * dx + dy * dy;
  const t = length ? Math.min(1, Math.max(0, ((p[0] - a[0]) * dx + (p[1] - a[1]) * dy) / length)) : 0;
  return Math.hypot(p[0] - a[0] - t * dx, p[1] - a[1] - t * dy);
}

/** At most five points of a stroke: the ends, then whatever lies farthest from the line so far. */
export function simplify(stroke, most = MOST) {
  const chosen = [0, stroke.length - 1];
  while (chosen.length < most) {
    let best = STRAIGHT, at = -1;
    for (let c = 1; c < chosen.length; c++) {
      for (let i = chosen[c - 1] + 1; i < chosen[c]; i++) {
        const d = off(stroke[i], stroke[chosen[c - 1]], stroke[chosen[c]]);
        if (d > best) [best, at] = [d, i];
      }
    }
    if (at < 0) break;
    chosen.push(at);
    chosen.sort((a, b) => a - b);
  }
  return chosen.map((i) => stroke[i]);
}

export class Pen extends EventTarget {
  constructor(view, stage, link) {
    super();
    Object.assign(this, { view, stage, link, on: true, allowed: false, frame: null, points: [] });
    this.stroke = null;
    this.held = -1;
    this.lastStylus = -PALM_MS;
    this.lastAsked = 0;
    view.addEventListener("pointerdown", (event) => this.down(event));
    view.addEventListener("pointermove", (event) => this.move(event));
    for (const name of ["pointerup", "pointercancel"]) view.addEventListener(name, () => this.up());
  }

  get drawing() { return this.frame !== null; }
  get ready() { return this.points.length >= 2; }

  at(event) {
    const box = this.view.getBoundingClientRect();
    return [clamp(((event.clientX - box.left) / box.width) * 255), clamp(((event.clientY - box.top) / box.height) * 255)];
  }

  /** Grid units of so many pixels on this screen. */
  units(pixels) { return (pixels / this.view.clientWidth) * 255; }

  down(event) {
    if (!this.on || event.button !== 0 || event.target.closest("button, .seen")) return;
    if (event.pointerType === "pen") this.lastStylus = event.timeStamp;
    else if (event.pointerType === "touch" && event.timeStamp - this.lastStylus < PALM_MS) return; // a palm
    if (!this.begin()) return;
    event.preventDefault();
    this.view.focus({ preventScroll: true });
    this.view.setPointerCapture(event.pointerId);
    const point = this.at(event);
    this.held = this.hit(point);
    if (this.held >= 0) return;
    if (!this.points.length) {
      const tool = this.stage.tool;
      const start = tool && far(tool, point) < this.units(SNAP_PX) ? [...tool] : point;
      this.stroke = [start];
      this.points = [start];
      this.held = 0;
    } else if (this.points.length < MOST) {
      this.points.push(point);
      this.held = this.points.length - 1;
    } else {
      this.dispatchEvent(new CustomEvent("full"));
      return;
    }
    this.changed();
  }

  move(event) {
    if (this.held < 0) return;
    const point = this.at(event);
    if (event.pointerType === "pen") this.lastStylus = event.timeStamp;
    if (this.stroke) {
      const news = event.getCoalescedEvents?.() ?? [];
      this.stroke.push(...(news.length ? news.map((e) => this.at(e)) : [point]));
      if (far(this.stroke[0], point) > this.units(CLICK_PX) || this.points.length > 1) this.points = simplify(this.stroke);
    } else this.points[this.held] = point;
    this.changed();
  }

  up() {
    if (this.held < 0) return;
    if (this.stroke && this.points.length > 1) this.points = simplify(this.stroke);
    this.stroke = null;
    this.held = -1;
    this.changed(true);
  }

  hit(point) {
    const reach = this.units(HIT_PX);
    const gaps = this.points.map((p) => far(p, point));
    const nearest = gaps.indexOf(Math.min(...gaps));
    return nearest >= 0 && gaps[nearest] < reach ? nearest : -1;
  }

  /** Freeze the picture. False when there is none, or this page only watches. */
  begin() {
    if (this.drawing) return true;
    if (!this.allowed || !this.stage.frame) {
      this.dispatchEvent(new CustomEvent("refused"));
      return false;
    }
    this.frame = this.stage.freeze();
    this.link.ask("freeze", { frame: this.frame.number }).then((answer) => {
      if (answer.type === "error") this.refresh(true);
    });
    return true;
  }

  /** The same points on the newest picture; once more when that one was gone, too. */
  refresh(again = false) {
    if (!this.drawing) return;
    this.stage.thaw();
    setTimeout(() => {
      if (!this.drawing) return;
      this.frame = this.stage.freeze();
      this.link.ask("freeze", { frame: this.frame.number }).then((answer) => {
        if (answer.type === "error") again ? this.refresh() : this.discard();
        else this.changed(true);
      });
    }, 150);
  }

  /** For keys: a new point beside the last one, at the tool, or in the middle. */
  put() {
    if (!this.begin() || this.points.length >= MOST) return;
    const last = this.points.at(-1);
    this.points.push(last ? [clamp(last[0] + 12), last[1]] : [...(this.stage.tool ?? [127.5, 127.5])]);
    this.changed(true);
  }

  nudge(dx, dy) {
    const last = this.points.at(-1);
    if (!last) return;
    this.points[this.points.length - 1] = [clamp(last[0] + dx), clamp(last[1] + dy)];
    this.changed(true);
  }

  undo() {
    this.points.pop();
    if (this.points.length) this.changed(true);
    else this.discard();
  }

  discard() {
    this.points = [];
    this.stroke = null;
    this.held = -1;
    this.frame = null;
    this.stage.thaw();
    this.changed();
  }

  changed(settled = false) {
    this.stage.setSketch(this.points);
    this.dispatchEvent(new CustomEvent("change"));
    if (!this.ready || !this.drawing) return;
    const now = performance.now();
    clearTimeout(this.later);
    if (settled || now - this.lastAsked > PREVIEW_MS) {
      this.lastAsked = now;
      this.link.ask("preview", { frame: this.frame.number, points: this.points });
    } else this.later = setTimeout(() => this.changed(true), PREVIEW_MS);
  }
}
