// The line to the robot: reconnects, confirms pictures, keeps the two clocks together.
const HEADER_BYTES = 16, PREVIEW = 4;
const RETRY_MS = [300, 700, 1500, 3000];

export class Link extends EventTarget {
  constructor() {
    super();
    this.offset = null; // seconds to add to this machine's clock to get the robot's
    this.roundTrip = Infinity;
    this.lastId = 0;
    this.failures = 0;
    this.answers = new Map();
    this.turns = {};
    this.shown = {};
    this.connect();
    setInterval(() => this.ping(), 2000);
  }

  get open() { return this.socket?.readyState === WebSocket.OPEN; }

  /** Seconds since a picture with this stamp was taken; null until the clocks are known. */
  age(stamp) { return this.offset === null ? null : performance.now() / 1000 + this.offset - stamp; }

  connect() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/ws`);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      this.failures = 0;
      this.roundTrip = Infinity;
      this.emit("open");
      this.ping();
    };
    socket.onmessage = ({ data }) =>
      typeof data === "string" ? this.text(JSON.parse(data)) : this.picture(socket, data);
    socket.onclose = () => this.lost();
    this.socket = socket;
  }

  async lost() {
    for (const settle of this.answers.values()) settle({ type: "error", message: "The connection was lost." });
    this.answers.clear();
    const wait = RETRY_MS[Math.min(this.failures++, RETRY_MS.length - 1)];
    let refused = false;
    try {
      refused = (await fetch("/", { method: "HEAD" })).status === 401;
    } catch { /* the server is gone; the banner says so */ }
    this.emit("lost", { refused });
    setTimeout(() => this.connect(), wait);
  }

  ping() {
    if (this.open) this.socket.send(JSON.stringify({ type: "ping", time: performance.now() }));
  }

  text(message) {
    if (message.type === "pong") {
      const now = performance.now();
      const roundTrip = (now - message.time) / 1000;
      // The quickest answer tells the time best; forget it slowly, since clocks drift.
      if (roundTrip <= this.roundTrip * 1.1) {
        this.roundTrip = roundTrip;
        this.offset = message.now + roundTrip / 2 - now / 1000;
      }
      return;
    }
    if (message.id && this.answers.has(message.id)) {
      this.answers.get(message.id)(message);
      this.answers.delete(message.id);
      return;
    }
    this.emit(message.type, message);
  }

  async picture(socket, buffer) {
    const head = new DataView(buffer, 0, HEADER_BYTES);
    const stream = head.getUint8(0), number = head.getUint32(4, true), stamp = head.getFloat64(8, true);
    const turn = this.turns[stream] = (this.turns[stream] ?? 0) + 1;
    let bitmap = null;
    try {
      bitmap = await createImageBitmap(new Blob([new Uint8Array(buffer, HEADER_BYTES)], { type: stream === PREVIEW ? "image/png" : "image/jpeg" }));
    } catch { /* a damaged picture is skipped, but confirmed: the next one may be whole */ }
    // Decoding takes turns as it likes: what came first must not be shown last.
    if (bitmap && turn > (this.shown[stream] ?? 0)) {
      this.shown[stream] = turn;
      this.emit("picture", { stream, number, stamp, bitmap });
    } else bitmap?.close();
    if (socket.readyState === WebSocket.OPEN) {
      const receipt = new DataView(new ArrayBuffer(5));
      receipt.setUint8(0, stream);
      receipt.setUint32(1, number, true);
      socket.send(receipt.buffer);
    }
  }

  /** Ask for a command; resolves to the answer or error message, never rejects. */
  ask(type, fields = {}) {
    if (!this.open) return Promise.resolve({ type: "error", message: "Not connected to the robot." });
    const id = ++this.lastId;
    this.socket.send(JSON.stringify({ type, id, ...fields }));
    return new Promise((settle) => this.answers.set(id, settle));
  }

  /** STOP goes over the open line, and over plain HTTP too when no answer comes at once. */
  async stop() {
    const late = new Promise((settle) => setTimeout(settle, 250, null));
    const answer = this.open ? await Promise.race([this.ask("stop"), late]) : null;
    if (answer && answer.type !== "error") return answer;
    try {
      const reply = await fetch("/stop", { method: "POST" });
      const message = (await reply.json()).message;
      return { type: reply.ok ? "answer" : "error", message };
    } catch {
      return { type: "error", message: "STOP did not reach the robot. Use the emergency stop." };
    }
  }

  emit(name, detail) { this.dispatchEvent(new CustomEvent(name, { detail })); }
}
