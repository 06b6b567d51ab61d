// A hand on the page: the tool moves while a button is held, and only then.
const PERIOD_MS = 50; // the teleop node takes a quarter of a second of silence for a released switch
const SHARE = 0.7; // of full deflection

/** link: the line to the robot. Buttons carry data-jog="axis sign" or data-press="button". */
export function wireJog(link) {
  let timer = 0;
  const send = (axes, buttons) =>
    link.open && link.socket.send(JSON.stringify({ type: "jog", axes, buttons }));
  const rest = () => [0, 0, 0, 0, 0, 0];

  const release = () => {
    if (!timer) return;
    clearInterval(timer);
    timer = 0;
    send(rest(), [false, false, false, false]);
    for (const button of document.querySelectorAll("#jog .held")) button.classList.remove("held");
  };

  const hold = (button) => {
    release();
    const axes = rest(), buttons = [true, false, false, false];
    if (button.dataset.press) buttons[Number(button.dataset.press)] = true;
    else {
      const [axis, sign] = button.dataset.jog.split(" ").map(Number);
      axes[axis] = sign * SHARE;
    }
    button.classList.add("held");
    // The switch must be seen at rest before anything may move.
    send(rest(), [true, false, false, false]);
    timer = setInterval(() => send(axes, buttons), PERIOD_MS);
  };

  for (const button of document.querySelectorAll("#jog button")) {
    button.addEventListener("pointerdown", (event) => {
      if (event.button > 0) return;
      button.setPointerCapture(event.pointerId);
      hold(button);
    });
    for (const end of ["pointerup", "pointercancel", "lostpointercapture", "blur"]) {
      button.addEventListener(end, release);
    }
    button.addEventListener("keydown", (event) => {
      if (event.key === "Enter") {
        event.preventDefault();
        if (!event.repeat) hold(button);
      }
    });
    button.addEventListener("keyup", release);
    button.addEventListener("contextmenu", (event) => event.preventDefault());
  }
  // Whatever takes the page away takes the hand off the arm.
  for (const name of ["blur", "pagehide"]) window.addEventListener(name, release);
  document.addEventListener("visibilitychange", release);
  link.addEventListener("lost", release);
  document.addEventListener("keydown", (event) => { if (event.code === "Space") release(); }, true);
}
