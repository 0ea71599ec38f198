// Elements, calls to the API, and short messages. Text always goes in as text, never as HTML.

/** An element: h("p", {class: "muted", onclick: f}, "text", child). */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && typeof value !== "string") element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Call the API with JSON; throws an Error whose message is the server's sentence. */
export async function call(method, path, body) {
  const isForm = body instanceof FormData;
  const response = await fetch(path, {
    method,
    headers: body && !isForm ? { "Content-Type": "application/json" } : {},
    body: isForm ? body : body ? JSON.stringify(body) : undefined,
  });
  if (!response.ok) throw await failure(response);
  return response.json();
}

/** The server's error as an Error. */
export async function failure(response) {
  const content = await response.json().catch(() => ({}));
  const { message = `The server answered ${response.status}.`, hint = "" } = content.error ?? {};
  if (response.status === 401) location.assign(`/login?next=${encodeURIComponent(location.pathname)}`);
  const error = new Error(`${message} ${hint}`.trim());
  error.status = response.status;
  return error;
}

let timer;
/** Show a short message at the bottom of the page. */
export function toast(text, kind = "info") {
  const box = document.getElementById("toast");
  box.textContent = text;
  box.dataset.kind = kind;
  box.hidden = false;
  clearTimeout(timer);
  timer = setTimeout(() => (box.hidden = true), kind === "error" ? 8000 : 3500);
}

/** Run something that may fail and show the sentence when it does. */
export async function attempt(action) {
  try {
    return await action();
  } catch (error) {
    toast(error.message, "error");
    return undefined;
  }
}

/** A time as people read it. */
export function when(iso) {
  return iso ? new Date(iso).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" }) : "–";
}

/** A time that does not break over lines, for tables. */
export const time = (iso) => (iso ? h("time", { datetime: iso }, when(iso)) : "–");

/** A drawn thumb, up or down: fonts with emoji are not everywhere. */
export function thumbIcon(up) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  const shape = "M7 10v11H3V10zM7 10l4-8c1.7 0 3 1.3 3 3v4h5.5c1.2 0 2.1 1.1 1.9 2.3l-1.3 8c-.2 1-1 1.7-2 1.7H7";
  for (const [name, value] of Object.entries({ viewBox: "0 0 24 24", fill: "none", stroke: "currentColor", "stroke-width": "2",
    "stroke-linejoin": "round", "aria-hidden": "true" })) svg.setAttribute(name, value);
  path.setAttribute("d", shape);
  if (!up) path.setAttribute("transform", "rotate(180 12 12)");
  svg.append(path);
  return svg;
}
