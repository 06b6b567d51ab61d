// The external picture and what is drawn on it, sharp on every screen.
const MODEL = [34, 211, 238];
const HUMAN = [255, 149, 51];
const DARK = "rgba(4, 8, 14, 0.6)";
const MORPH_MS = 260;

const mix = (a, b, f) => a.map((value, i) => Math.round(value + (b[i] - value) * f));
const css = (rgb, alpha = 1) => `rgba(${rgb[0]}, ${rgb[1]}, ${rgb[2]}, ${alpha})`;

export class Stage {
  constructor(view) {
    this.view = view;
    this.picture = view.querySelector("#external");
    this.overlay = view.querySelector("#overlay");
    this.pen = this.picture.getContext("2d");
    this.ink = this.overlay.getContext("2d");
    this.trace = [];
    this.from = [];
    this.began = 0;
    this.executed = [];
    this.sketch = []; // being drawn
    this.human = []; // sent, and steering
    this.frame = null; // number and stamp of the picture that is shown
    this.frozen = false;
    this.resting = false; // nothing is planned now: what is drawn is history
    this.showTrace = true;
    this.showExecuted = true;
    new ResizeObserver(() => this.redraw()).observe(view);
  }

  /** The newest picture, unless the pen lies on an older one. Whether it is shown. */
  show(bitmap, frame) {
    if (this.frozen) {
      bitmap.close();
      return false;
    }
    this.frame = frame;
    if (this.picture.width !== bitmap.width || this.picture.height !== bitmap.height) {
      this.picture.width = bitmap.width;
      this.picture.height = bitmap.height;
      this.view.style.aspectRatio = `${bitmap.width} / ${bitmap.height}`;
    }
    this.pen.drawImage(bitmap, 0, 0);
    bitmap.close();
    this.view.classList.add("live");
    return true;
  }

  freeze() {
    this.frozen = true;
    this.view.classList.add("frozen");
    return this.frame;
  }

  thaw() {
    this.frozen = false;
    this.view.classList.remove("frozen");
  }

  /** Where the tool was seen last, on the 0..255 grid. */
  get tool() { return this.executed.at(-1); }

  setSketch(points) {
    this.sketch = points;
    this.redraw();
  }

  setHuman(points) {
    this.human = points;
    this.redraw();
  }

  /** A new thought's trace; the old line moves to it, so that the eye sees what changed. */
  setTrace(points) {
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.from = !still && points.length === this.trace.length ? this.trace : points;
    this.trace = points;
    this.began = performance.now();
    this.redraw();
  }

  setExecuted(points) {
    this.executed = points;
    this.redraw();
  }

  redraw() {
    if (this.asked) return;
    this.asked = true;
    requestAnimationFrame(() => {
      this.asked = false;
      this.draw();
    });
  }

  draw() {
    const scale = window.devicePixelRatio || 1;
    const width = this.view.clientWidth, height = this.view.clientHeight;
    if (this.overlay.width !== Math.round(width * scale) || this.overlay.height !== Math.round(height * scale)) {
      this.overlay.width = Math.round(width * scale);
      this.overlay.height = Math.round(height * scale);
    }
    const ink = this.ink;
    ink.setTransform(scale, 0, 0, scale, 0, 0);
    ink.clearRect(0, 0, width, height);
    ink.lineCap = ink.lineJoin = "round";
    ink.globalAlpha = this.resting ? 0.4 : 1;
    const place = ([x, y]) => [(x / 255) * width, (y / 255) * height];
    const thick = Math.max(2, width / 230);
    if (this.showExecuted) this.drawExecuted(this.executed.map(place), thick);
    this.drawModel(place, thick);
    ink.globalAlpha = 1;
    if (this.human.length && !this.sketch.length) this.drawTrace(this.human.map(place), thick, HUMAN, 0.8);
    if (this.frozen) this.drawSketch(place, thick);
  }

  drawModel(place, thick) {
    if (!this.showTrace || (this.human.length && !this.frozen)) return;
    const part = Math.min(1, (performance.now() - this.began) / MORPH_MS);
    const ease = 1 - (1 - part) ** 3;
    const points = this.trace.map((point, i) => mix2(this.from[i], point, ease));
    this.drawTrace(points.map(place), thick, MODEL);
    if (part < 1) this.redraw();
  }

  drawSketch(place, thick) {
    const ink = this.ink, points = this.sketch.map(place);
    if (this.tool && !this.sketch.length) this.ring(place(this.tool), thick * 4);
    if (points.length > 1) {
      this.line(points, DARK, thick * 2.4);
      ink.setLineDash([0.1, thick * 2.1]); // dots: not sent yet
      this.line(points, css(HUMAN), thick * 1.15);
      ink.setLineDash([]);
    }
    const radius = Math.max(11, thick * 3.2);
    for (let i = points.length - 1; i >= 0; i--) this.disc(points[i], radius, String(i + 1), HUMAN);
  }

  ring([x, y], radius) {
    this.ink.beginPath();
    this.ink.arc(x, y, radius, 0, 2 * Math.PI);
    this.ink.lineWidth = 2.5;
    this.ink.strokeStyle = css(HUMAN);
    this.ink.stroke();
  }

  drawExecuted(points, thick) {
    this.ink.lineCap = "butt"; // round ends of half-clear pieces would show as beads
    for (let i = 1; i < points.length; i++) {
      const alpha = 0.15 + (0.85 * i) / points.length;
      this.line(points.slice(i - 1, i + 1), `rgba(4, 8, 14, ${alpha * 0.45})`, thick * 1.8);
    }
    for (let i = 1; i < points.length; i++) {
      const alpha = 0.15 + (0.85 * i) / points.length;
      this.line(points.slice(i - 1, i + 1), `rgba(255, 255, 255, ${alpha})`, thick * 0.8);
    }
    this.ink.lineCap = "round";
  }

  drawTrace(points, thick, colour, size = 1) {
    if (!points.length) return;
    this.ink.shadowColor = "rgba(4, 8, 14, 0.8)";
    this.ink.shadowBlur = thick * 2.5;
    if (points.length > 1) this.line(points, DARK, thick * 2.2);
    this.ink.shadowBlur = 0;
    const dim = colour.map((value) => Math.round(value * 0.42));
    for (let i = 1; i < points.length; i++) {
      const shade = this.ink.createLinearGradient(...points[i - 1], ...points[i]);
      const last = points.length - 1;
      shade.addColorStop(0, css(mix(dim, colour, (i - 1) / last)));
      shade.addColorStop(1, css(mix(dim, colour, i / last)));
      this.line(points.slice(i - 1, i + 1), shade, thick);
    }
    const radius = Math.max(7, thick * 2.7) * size;
    // Backwards: where points meet, the one that comes first stays readable.
    for (let i = points.length - 1; i >= 0; i--) this.disc(points[i], radius, String(i + 1), colour);
  }

  line(points, colour, width) {
    const ink = this.ink;
    ink.beginPath();
    points.forEach(([x, y], i) => (i ? ink.lineTo(x, y) : ink.moveTo(x, y)));
    ink.strokeStyle = colour;
    ink.lineWidth = width;
    ink.stroke();
  }

  disc([x, y], radius, label, colour) {
    const ink = this.ink;
    ink.beginPath();
    ink.arc(x, y, radius, 0, 2 * Math.PI);
    ink.fillStyle = css(colour);
    ink.fill();
    ink.lineWidth = 2;
    ink.strokeStyle = "rgba(4, 8, 14, 0.85)";
    ink.stroke();
    ink.fillStyle = "#041218";
    ink.font = `700 ${Math.round(radius * 1.25)}px ${getComputedStyle(document.body).fontFamily}`;
    ink.textAlign = "center";
    ink.textBaseline = "middle";
    ink.fillText(label, x, y + radius * 0.07);
  }
}

const mix2 = (a, b, f) => [a[0] + (b[0] - a[0]) * f, a[1] + (b[1] - a[1]) * f];

/** A small view: the newest picture on its canvas. */
export function showSmall(canvas, bitmap) {
  if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
    canvas.width = bitmap.width;
    canvas.height = bitmap.height;
  }
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  canvas.parentElement.classList.add("live");
  bitmap.close();
}
