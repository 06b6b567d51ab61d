// Instructions that were started on this screen, newest first.
const KEY = "molmoact-instructions", MOST = 8;

export function recent() {
  try {
    const list = JSON.parse(localStorage.getItem(KEY) ?? "[]");
    return Array.isArray(list) ? list.filter((text) => typeof text === "string").slice(0, MOST) : [];
  } catch {
    return []; // storage is off or damaged: the page works without a past
  }
}

export function remember(text) {
  try {
    localStorage.setItem(KEY, JSON.stringify([text, ...recent().filter((old) => old !== text)].slice(0, MOST)));
  } catch { /* see recent() */ }
}
